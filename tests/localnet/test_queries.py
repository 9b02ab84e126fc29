"""What clients may ask: by height, page by page, over gRPC; and what localnet knowingly does not answer."""

import asyncio
from urllib.parse import urlsplit

import aiohttp
import pytest
from allora_sdk.rpc_client.protos.cosmos.base.query.v1beta1 import PageRequest
from allora_sdk.rpc_client.protos.cosmos.base.tendermint import v1beta1 as tm
from allora_sdk.rpc_client.protos.cosmos.staking import v1beta1 as staking
from allora_sdk.rpc_client.protos.cosmos.tx import v1beta1 as tx
from allora_sdk.rpc_client.protos.emissions import v10 as e
from allora_sdk.rpc_client.protos.feemarket.feemarket import v1 as feemarket
from chain_world import SPEC, done, key, payload, register, report, stake
from grpclib import GRPCError, Status
from grpclib.client import Channel

from crucible.localnet.embedded import EmbeddedLocalnet

WORKERS = [key(f"worker {number}") for number in range(3)]
FORECASTER, REPUTER, FRIEND = key("forecaster"), key("reputer"), key("friend")
TOPIC = {"topic_id": 77}


@pytest.fixture(scope="module")
def node():
    """A topic with a few settled epochs and everybody in them."""
    with EmbeddedLocalnet([SPEC], block_seconds=0) as net:
        core = net.core
        for each in (*WORKERS, FORECASTER, REPUTER, FRIEND):
            net.fund(each.address)
        register(core, *WORKERS, FORECASTER)
        register(core, REPUTER, is_reputer=True)
        stake(core, REPUTER)
        done(
            core, FRIEND, e.DelegateStakeRequest(sender=FRIEND.address, reputer=REPUTER.address, amount="700", **TOPIC)
        )
        done(core, REPUTER, e.RemoveStakeRequest(sender=REPUTER.address, amount="10", **TOPIC))
        gone = {"sender": FRIEND.address, "reputer": REPUTER.address, "amount": "20"}
        done(core, FRIEND, e.RemoveDelegateStakeRequest(**gone, **TOPIC))
        for nonce in range(12, 97, 12):
            while core.height < nonce:
                core.step(float(core.height + 1))
            for place, worker in enumerate(WORKERS):
                done(core, worker, payload(worker, nonce, str(100 + place)))
            done(
                core, FORECASTER, payload(FORECASTER, nonce, None, {WORKERS[0].address: "-1", WORKERS[1].address: "1"})
            )
            for due in core.topics[77].reputer_nonces():
                if core.topics[77].reputer_window_open(due, core.height + 1):
                    network = core.topics[77].nonces[due].network
                    losses = {name: value / 100 - 2 for name, value in network.items()}
                    done(core, REPUTER, report(REPUTER, due, losses))
        yield net


@pytest.fixture(scope="module")
def ask(node):
    loop = asyncio.new_event_loop()
    parts = urlsplit(node.grpc_url)

    async def connect():
        return Channel(parts.hostname, parts.port)

    channel = loop.run_until_complete(connect())

    def call(stub, method, request):
        async def act():
            return await getattr(stub(channel), method)(request, timeout=5)

        return loop.run_until_complete(act())

    yield call
    channel.close()
    loop.run_until_complete(asyncio.sleep(0.01))  # the transport closes in a later turn
    loop.close()


@pytest.fixture
def emissions(ask):
    return lambda method, **fields: ask(e.QueryServiceStub, method, _request(method)(**fields))


def _request(method):
    return getattr(e, "".join(part.title() for part in method.split("_")) + "Request")


def last_settled(node):
    return max(height for height, nonce in node.core.topics[77].nonces.items() if nonce.rewards)


def test_what_was_submitted_and_inferred_for_a_nonce(node, emissions):
    nonce = last_settled(node)
    at = {**TOPIC, "block_height": nonce}
    inferences = emissions("get_inferences_at_block", **at).inferences.inferences
    assert sorted((item.inferer, item.values[0]) for item in inferences) == sorted(
        (worker.address, str(100 + place)) for place, worker in enumerate(WORKERS)
    )
    [forecast] = emissions("get_forecasts_at_block", **at).forecasts.forecasts
    assert {item.inferer: item.value for item in forecast.forecast_elements} == {
        WORKERS[0].address: "-1", WORKERS[1].address: "1",
    }  # fmt: skip
    bundle = emissions("get_network_inferences_at_block", **TOPIC, block_height_last_inference=nonce).network_inferences
    assert float(bundle.combined_value[0].value) == pytest.approx(101)
    assert len(bundle.one_out_inferer_values) == 3
    assert len(bundle.one_out_inferer_forecaster_values) == 3
    assert bundle.combined_value[0].label_name == "y"
    losses = emissions("get_network_loss_bundle_at_block", **at).loss_bundle
    assert float(losses.combined_value) == pytest.approx(101 / 100 - 2)
    assert len(losses.inferer_values) == 3
    [reported] = emissions("get_reputer_loss_bundles_at_block", **at).loss_bundles
    assert reported.reputer == REPUTER.address
    newest = emissions("get_latest_network_inferences", **TOPIC)
    assert newest.inference_block_height >= nonce
    assert emissions("get_latest_topic_inferences", **TOPIC).block_height == newest.inference_block_height
    latest = emissions("get_worker_latest_input_inference_by_topic_id", **TOPIC, worker_address=WORKERS[1].address)
    assert latest.latest_input_inference.values[0].value == "101"
    with pytest.raises(GRPCError) as caught:
        emissions("get_inferences_at_block", **TOPIC, block_height=13)
    assert caught.value.status is Status.NOT_FOUND


def test_the_lowest_of_those_who_take_part(node, emissions):
    averages = node.core.topics[77].score_averages("inferer")
    lowest = emissions("get_current_lowest_inferer_score", **TOPIC).score
    assert lowest.address == min(averages, key=averages.get)
    found = emissions("get_current_lowest_reputer_score", **TOPIC).score
    assert found.address == REPUTER.address  # its bundle for the epoch that is not settled
    assert float(found.score) == pytest.approx(node.core.topics[77].score_averages("reputer")[REPUTER.address])


def test_scores_and_what_follows_from_them(node, emissions):
    nonce = last_settled(node)
    at = {**TOPIC, "block_height": nonce}
    state = node.core.topics[77]
    scores = emissions("get_worker_inference_scores_at_block", **at).scores.scores
    assert {item.address: float(item.score) for item in scores} == pytest.approx(state.nonces[nonce].scores)
    assert [s.address for s in emissions("get_worker_forecast_scores_at_block", **at).scores.scores] == [
        FORECASTER.address
    ]
    assert [s.address for s in emissions("get_reputers_scores_at_block", **at).scores.scores] == [REPUTER.address]
    until = emissions("get_inference_scores_until_block", **at).scores
    assert len(until) == 3 * len({item.block_height for item in until})
    assert max(item.block_height for item in until) == nonce
    assert emissions("get_forecast_scores_until_block", **at).scores
    first = WORKERS[0].address
    average = emissions("get_inferer_score_ema", **TOPIC, inferer=first).score
    assert float(average.score) == pytest.approx(state.emas[first])
    assert emissions("get_forecaster_score_ema", **TOPIC, forecaster="nobody").score.score == "0"
    assert float(emissions("get_reputer_score_ema", **TOPIC, reputer=REPUTER.address).score.score) > 0
    heard = emissions("get_listening_coefficient", **TOPIC, reputer=REPUTER.address).listening_coefficient
    assert float(heard.coefficient) == pytest.approx(1)
    assert float(emissions("get_previous_inference_reward_fraction", **TOPIC, worker=first).reward_fraction) > 0
    assert emissions("get_previous_forecast_reward_fraction", **TOPIC, worker=first).not_found
    assert emissions("get_count_inferer_inclusions_in_topic", **TOPIC, inferer=first).count >= 1
    assert emissions("get_topic_reward_nonce", **TOPIC).nonce == nonce
    float(emissions("get_previous_topic_quantile_inferer_score_ema", **TOPIC).value)


def test_every_family_of_regrets(node, emissions):
    first, second, k = WORKERS[0].address, WORKERS[1].address, FORECASTER.address
    regrets = node.core.topics[77].mechanism.regrets
    found = {
        "combined": emissions("get_inferer_network_regret", **TOPIC, actor_id=first),
        "forecaster": emissions("get_forecaster_network_regret", **TOPIC, worker=k),
        "naive": emissions("get_naive_inferer_network_regret", **TOPIC, inferer=first),
        "only": emissions("get_one_in_forecaster_network_regret", **TOPIC, forecaster=k, inferer=first),
        "without": emissions(
            "get_one_out_inferer_inferer_network_regret", **TOPIC, one_out_inferer=second, inferer=first
        ),
        "without j": emissions(
            "get_one_out_inferer_forecaster_network_regret", **TOPIC, one_out_inferer=second, forecaster=k
        ),
        "without k": emissions(
            "get_one_out_forecaster_inferer_network_regret", **TOPIC, one_out_forecaster=k, inferer=first
        ),
        "self": emissions(
            "get_one_out_forecaster_forecaster_network_regret", **TOPIC, one_out_forecaster=k, forecaster=k
        ),
    }
    values = {name: float(answer.regret.value) for name, answer in found.items()}
    names = node.core.topics[77].mechanism.inferers.names
    assert values["combined"] == pytest.approx(regrets[0, names.index(first)])
    assert values["naive"] == pytest.approx(regrets[1, names.index(first)])
    assert values["without"] == pytest.approx(regrets[2 + names.index(second), names.index(first)])
    assert emissions("get_inferer_network_regret", **TOPIC, actor_id="nobody").regret.value == "0"


def test_windows_and_nonces(node, emissions):
    topic = node.core.topics[77]
    waiting = [item.block_height for item in emissions("get_unfulfilled_worker_nonces", **TOPIC).nonces.nonces]
    assert waiting == topic.worker_nonces()
    opened = emissions("get_open_worker_submission_windows", **TOPIC).nonces.nonces
    assert [item.block_height for item in opened] == waiting
    status = emissions("get_worker_submission_window_status", **TOPIC, address=WORKERS[0].address)
    assert (status.is_open, status.is_registered, status.is_whitelisted) == (True, True, True)
    assert status.window_end_block == waiting[0] + 8
    reputing = emissions("get_reputer_submission_window_status", **TOPIC, address=REPUTER.address)
    assert (reputing.is_open, reputing.current_nonce_block_height) == (True, waiting[0] - 12)
    assert emissions("is_worker_nonce_unfulfilled", **TOPIC, block_height=waiting[0]).is_worker_nonce_unfulfilled
    in_flight = emissions("get_unfulfilled_reputer_nonces", **TOPIC).nonces.nonces
    assert [item.reputer_nonce.block_height for item in in_flight] == topic.reputer_nonces()
    open_now = emissions("get_open_reputer_submission_windows", **TOPIC).nonces.nonces
    assert {item.reputer_nonce.block_height for item in open_now} <= set(topic.reputer_nonces())
    commit = emissions("get_topic_last_worker_commit_info", **TOPIC).last_commit
    assert commit.block_height == commit.nonce.block_height + 8
    assert emissions("get_topic_last_reputer_commit_info", **TOPIC).last_commit.nonce.block_height == last_settled(node)
    assert emissions("get_next_churning_block_by_topic_id", **TOPIC).block_height == waiting[0] + 12


def test_topics_and_parameters(emissions):
    described = emissions("get_topic", **TOPIC)
    assert (described.topic.p_norm, described.topic.worker_submission_window) == ("3", 8)
    assert int(described.topic_stake) >= 50_700
    params = emissions("get_params").params
    assert (params.max_top_inferers_to_reward, params.required_minimum_stake) == (32, "10000")
    assert emissions("is_topic_active", **TOPIC).is_active
    assert not emissions("topic_exists", topic_id=5).exists
    assert emissions("get_next_topic_id").next_topic_id == 78
    assert float(emissions("get_previous_topic_weight", **TOPIC).weight) >= 100
    assert emissions("get_active_topics_at_block", block_height=12).topics[0].id == 77
    assert emissions("can_submit_worker_payload", **TOPIC, address="anybody").can_submit_worker_payload
    assert not emissions("is_topic_worker_whitelist_enabled", **TOPIC).is_topic_worker_whitelist_enabled
    assert not emissions("can_update_topic_whitelist", **TOPIC, address="anybody").can_update_topic_whitelist


def test_stake(emissions):
    who = {"reputer_address": REPUTER.address, **TOPIC}
    own = int(emissions("get_stake_from_reputer_in_topic_in_self", **who).amount)
    assert int(emissions("get_reputer_stake_in_topic", address=REPUTER.address, **TOPIC).amount) == own + 700
    assert emissions("get_delegate_stake_in_topic_in_reputer", **who).amount == "700"
    assert emissions("get_stake_from_delegator_in_topic", delegator_address=FRIEND.address, **TOPIC).amount == "700"
    many = emissions("get_multi_reputer_stake_in_topic", addresses=[REPUTER.address, "nobody"], **TOPIC).amounts
    assert [item.amount for item in many] == [str(own + 700), "0"]
    assert int(emissions("get_total_stake").amount) == int(emissions("get_topic_stake", **TOPIC).amount) == own + 700
    assert emissions("get_stake_removal_info", reputer=REPUTER.address, **TOPIC).removal.amount == "10"
    foreign = {"reputer": REPUTER.address, "delegator": FRIEND.address, **TOPIC}
    assert emissions("get_delegate_stake_removal_info", **foreign).removal.amount == "20"
    later = emissions("get_stake_removals_up_until_block", block_height=10**9).removals
    assert [item.reputer for item in later] == [REPUTER.address]
    assert emissions("get_delegate_stake_removals_up_until_block", block_height=1).removals == []


def test_what_is_not_there_is_said_knowingly(emissions):
    for method in ("get_latest_regret_std_norm", "get_delegate_reward_per_share", "get_worker_node_info"):
        with pytest.raises(GRPCError) as caught:
            emissions(method)
        assert caught.value.status is Status.UNIMPLEMENTED
        assert "localnet does not answer" in caught.value.message


def test_pages_and_blocks_and_the_fee_market(node, ask):
    for number in range(4):
        node.core.add_validator(f"allovaloper{number}")
    asked, seen, token = PageRequest(limit=2), [], b""
    while True:
        found = ask(staking.QueryStub, "validators", staking.QueryValidatorsRequest(pagination=asked))
        seen += [item.operator_address for item in found.validators]
        token = found.pagination.next_key
        if not token:
            break
        asked = PageRequest(limit=2, key=token)
    assert seen == sorted(node.core.ledger.validators)
    assert found.pagination.total == 5
    with pytest.raises(GRPCError) as caught:
        ask(staking.QueryStub, "validators", staking.QueryValidatorsRequest(pagination=PageRequest(key=b"\xff")))
    assert caught.value.status is Status.INVALID_ARGUMENT
    block = ask(tm.ServiceStub, "get_block_by_height", tm.GetBlockByHeightRequest(height=12))
    assert (block.sdk_block.header.height, block.block.header.height) == (12, 12)
    with pytest.raises(GRPCError):
        ask(tm.ServiceStub, "get_block_by_height", tm.GetBlockByHeightRequest(height=10**6))
    result = next(iter(node.core.results.values()))
    rows = ask(tx.ServiceStub, "get_txs_event", tx.GetTxsEventRequest(query=f"tx.height={result.height}"))
    assert result.hash in [row.txhash for row in rows.tx_responses]
    found = ask(tx.ServiceStub, "get_tx", tx.GetTxRequest(hash=result.hash.lower())).tx_response
    assert [event.type for event in found.events] == ["emissions.v10.EventWorkerRegistered"]
    market = ask(feemarket.QueryStub, "params", feemarket.ParamsRequest()).params
    assert (market.fee_denom, market.max_block_utilization) == ("uallo", 30_000_000)
    assert ask(feemarket.QueryStub, "state", feemarket.StateRequest()).state.base_gas_price == str(10 * 10**18)


def test_transactions_can_be_subscribed_to(node):
    async def listen():
        async with aiohttp.ClientSession() as session, session.ws_connect(node.websocket_url) as socket:
            for name, query in (("all", "tm.event='Tx'"), ("other", "tm.event='Tx' AND tx.hash='no'")):
                call = {"jsonrpc": "2.0", "method": "subscribe", "id": name, "params": {"query": query}}
                await socket.send_json(call)
                await socket.receive_json(timeout=5)
            await asyncio.to_thread(deliver)
            return await socket.receive_json(timeout=5)

    def deliver():
        request = e.FundTopicRequest(sender=FRIEND.address, amount="5", **TOPIC)
        from crucible.localnet.client import submit

        assert submit(node.core, FRIEND, request) == ""
        node.step()

    heard = asyncio.run(listen())
    assert heard["id"] == "all"
    done_ = heard["result"]["data"]["value"]["TxResult"]
    assert (heard["result"]["data"]["type"], done_["result"]["code"]) == ("tendermint/event/Tx", 0)
    assert heard["result"]["events"]["emissions.v10.EventFundTopic.amount"] == ['"5"']
    assert heard["result"]["events"]["tx.hash"][0] in node.core.results
