"""Topics made and funded by message, activity by weight, whitelists, stake, delegation and the fee market."""

from dataclasses import replace

import pytest
from allora_sdk.rpc_client.protos.cosmos.base.v1beta1 import Coin
from allora_sdk.rpc_client.protos.cosmos.staking.v1beta1 import MsgDelegate
from allora_sdk.rpc_client.protos.emissions import v10 as e
from chain_world import FUNDS, SPEC, chain, done, key, kinds, payload, register, report, run, signed, stake, step_to

from crucible.localnet.decimals import payable
from crucible.localnet.keys import GENESIS_VALIDATOR

OWNER, WORKER, REPUTER, FRIEND = (key(name) for name in ("owner", "worker", "reputer", "friend"))


@pytest.fixture
def core():
    made = chain(funded=(OWNER, WORKER, REPUTER, FRIEND))
    made.add_validator(GENESIS_VALIDATOR)
    return made


def new_topic(**changes):
    asked = {
        "creator": OWNER.address, "metadata": "made by message", "loss_method": "mse", "epoch_length": 12,
        "ground_truth_lag": 12, "p_norm": "3", "alpha_regret": "0.1", "epsilon": "0.01", "c_norm": "0.75",
        "worker_submission_window": 10, "merit_sortition_alpha": "0.1", "active_inferer_quantile": "0.2",
        "active_forecaster_quantile": "0.2", "active_reputer_quantile": "0.2",
    }  # fmt: skip
    return e.CreateNewTopicRequest(**{**asked, **changes})


def balance(core, signer):
    return core.ledger.accounts[signer.address].balance


def test_a_topic_made_by_message_wakes_with_stake_and_funds_and_runs_on_blocks(core):
    before = balance(core, OWNER)
    done(core, OWNER, new_topic())
    assert balance(core, OWNER) == before - 75_000 - 3_000_000
    topic = core.topics[78]
    assert (topic.active, topic.spec.creator, topic.spec.sponsored) == (False, OWNER.address, False)
    step_to(core, 30)
    assert topic.nonces == {}
    register(core, REPUTER, is_reputer=True, topic=78)
    register(core, WORKER, topic=78)
    done(core, FRIEND, e.FundTopicRequest(sender=FRIEND.address, topic_id=78, amount="1000000"))
    assert not core.topics[78].active  # no stake so far
    stake(core, REPUTER, topic=78)
    topic = core.topics[78]
    assert topic.active
    told = kinds(core.included[0].events)
    assert told == ["EventAddStake", "EventReputerStakeUpdated", "EventTopicStatusChanged"]
    woken = core.height
    step_to(core, woken + 12)
    assert list(core.topics[78].nonces) == [woken + 12]
    done(core, WORKER, payload(WORKER, woken + 12, topic=78))
    step_to(core, woken + 24)
    assert core.topics[78].nonces[woken + 12].combined == 101.5


def test_a_topic_without_weight_goes_to_sleep(core):
    done(core, OWNER, new_topic())
    register(core, REPUTER, is_reputer=True, topic=78)
    stake(core, REPUTER, topic=78, amount=10_000)
    done(core, FRIEND, e.FundTopicRequest(sender=FRIEND.address, topic_id=78, amount="10"))
    assert core.topics[78].active
    # the reputer takes its stake away
    core.module.remove_stake_delay = 20
    done(core, REPUTER, e.RemoveStakeRequest(sender=REPUTER.address, topic_id=78, amount="9999"))
    for _ in range(200):
        told = kinds(core.step(float(core.height + 1)))
        if "EventTopicStatusChanged" in told:
            break
    assert not core.topics[78].active
    assert core.topics[77].active  # sponsored


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch_length": 11}, {"ground_truth_lag": 11}, {"ground_truth_lag": 1201}, {"worker_submission_window": 13},
        {"worker_submission_window": 0}, {"metadata": "x" * 256}, {"loss_method": ""}, {"p_norm": "9"},
        {"alpha_regret": "1.5"}, {"epsilon": "much"},
    ],
)  # fmt: skip
def test_impossible_topics_are_refused(core, changes):
    assert run(core, OWNER, new_topic(**changes)).code == 26
    assert set(core.topics) == {77}


def test_only_the_listed_may_make_topics_once_the_switch_is_on(core):
    core.whitelists.creators_on = True
    assert run(core, OWNER, new_topic()).code == 82
    core.whitelists.admins.add(FRIEND.address)
    assert run(core, OWNER, e.AddToTopicCreatorWhitelistRequest(sender=OWNER.address, address=OWNER.address)).code == 28
    done(core, FRIEND, e.AddToTopicCreatorWhitelistRequest(sender=FRIEND.address, address=OWNER.address))
    done(core, OWNER, new_topic())


def test_a_topics_whitelists_decide_who_may_submit(core):
    done(core, OWNER, new_topic(enable_worker_whitelist=True, enable_reputer_whitelist=True))
    register(core, WORKER, topic=78)
    topic, lists = core.topics[78], core.whitelists
    assert not lists.may_work(topic, WORKER.address)
    assert run(core, WORKER, payload(WORKER, 12, topic=78)).code == 82
    bulk = e.BulkAddToTopicWorkerWhitelistRequest(sender=OWNER.address, topic_id=78, addresses=[WORKER.address])
    assert run(core, WORKER, replace(bulk, sender=WORKER.address)).code == 28
    done(core, OWNER, bulk)
    assert core.whitelists.may_work(core.topics[78], WORKER.address)
    assert run(core, WORKER, payload(WORKER, 12, topic=78)).code == 75  # let through to the next check
    single = e.RemoveFromTopicWorkerWhitelistRequest(sender=OWNER.address, topic_id=78, address=WORKER.address)
    assert kinds(done(core, OWNER, single).events) == ["EventTopicWorkerWhitelistRemoved"]
    assert not core.whitelists.may_work(core.topics[78], WORKER.address)
    done(core, OWNER, e.DisableTopicWorkerWhitelistRequest(sender=OWNER.address, topic_id=78))
    assert core.whitelists.may_work(core.topics[78], WORKER.address)
    assert not core.whitelists.may_repute(core.topics[78], REPUTER.address)
    core.whitelists.admins.add(FRIEND.address)
    done(core, FRIEND, e.AddToGlobalReputerWhitelistRequest(sender=FRIEND.address, address=REPUTER.address))
    assert core.whitelists.may_repute(core.topics[78], REPUTER.address)
    core.whitelists.actors_on = False  # a switch that is off lets everybody through
    assert core.whitelists.may_repute(core.topics[78], OWNER.address)
    bad = e.BulkAddToTopicWorkerWhitelistRequest(sender=OWNER.address, topic_id=78, addresses=["nobody"])
    assert run(core, OWNER, bad).code == 7


def test_a_failed_list_change_changes_nothing(core):
    core.whitelists.admins.add(FRIEND.address)
    bulk = e.BulkAddToGlobalWorkerWhitelistRequest(sender=FRIEND.address, addresses=[WORKER.address, "nobody"])
    assert run(core, FRIEND, bulk).code == 7
    assert core.whitelists.workers == set()


def test_delegated_stake_counts_shares_rewards_and_comes_back(core):
    register(core, WORKER)
    register(core, REPUTER, is_reputer=True)
    stake(core, REPUTER, amount=30_000)
    own = e.DelegateStakeRequest(sender=REPUTER.address, topic_id=77, reputer=REPUTER.address, amount="5")
    assert run(core, REPUTER, own).code == 57
    wish = e.DelegateStakeRequest(sender=FRIEND.address, topic_id=77, reputer=REPUTER.address, amount="10000")
    assert run(core, FRIEND, replace(wish, reputer=OWNER.address)).code == 13
    done(core, FRIEND, wish)
    topic = core.topics[77]
    assert (topic.stake_of(REPUTER.address), topic.stake) == (40_000, 40_000)
    for epoch in range(1, 7):
        step_to(core, 12 * epoch)
        done(core, WORKER, payload(WORKER, 12 * epoch))
        for nonce in core.topics[77].reputer_nonces():
            if core.topics[77].reputer_window_open(nonce, core.height + 1):
                losses = dict.fromkeys(core.topics[77].nonces[nonce].network, -1.0)
                done(core, REPUTER, report(REPUTER, nonce, losses))
    step_to(core, 90)
    topic = core.topics[77]
    earned = sum(payable(nonce.rewards.get("reputer", {}).get(REPUTER.address, 0.0)) for nonce in topic.nonces.values())
    pot = topic.delegate_rewards[REPUTER.address][FRIEND.address]
    assert earned > 0
    assert topic.stakes[REPUTER.address] == 30_000 + earned - pot
    first = next(nonce for nonce in sorted(topic.nonces) if topic.nonces[nonce].rewards)
    assert pot >= int(topic.nonces[first].rewards["reputer"][REPUTER.address]) // 4 - 1
    before = balance(core, FRIEND)
    done(core, FRIEND, e.RewardDelegateStakeRequest(sender=FRIEND.address, topic_id=77, reputer=REPUTER.address))
    assert balance(core, FRIEND) == before + pot - 3_000_000
    core.module.remove_stake_delay = 5
    back = e.RemoveDelegateStakeRequest(sender=FRIEND.address, topic_id=77, reputer=REPUTER.address, amount="10000")
    assert run(core, FRIEND, replace(back, amount="10001")).code == 49
    done(core, FRIEND, back)
    before = balance(core, FRIEND)
    step_to(core, core.height + 6)
    assert balance(core, FRIEND) == before + 10_000
    assert core.topics[77].delegations[REPUTER.address][FRIEND.address] == 0


def test_stake_leaves_after_the_delay_unless_it_is_cancelled(core):
    register(core, REPUTER, is_reputer=True)
    stake(core, REPUTER, amount=30_000)
    core.module.remove_stake_delay = 10
    assert run(core, REPUTER, e.RemoveStakeRequest(sender=REPUTER.address, topic_id=77, amount="30001")).code == 14
    assert run(core, REPUTER, e.RemoveStakeRequest(sender=REPUTER.address, topic_id=77, amount="0")).code == 51
    assert run(core, REPUTER, e.CancelRemoveStakeRequest(sender=REPUTER.address, topic_id=77)).code == 64
    done(core, REPUTER, e.RemoveStakeRequest(sender=REPUTER.address, topic_id=77, amount="20000"))
    done(core, REPUTER, e.CancelRemoveStakeRequest(sender=REPUTER.address, topic_id=77))
    done(core, REPUTER, e.RemoveStakeRequest(sender=REPUTER.address, topic_id=77, amount="20000"))
    asked, before = core.height, balance(core, REPUTER)
    step_to(core, asked + 9)
    assert core.topics[77].stakes[REPUTER.address] == 30_000
    assert "EventRemoveStake" in kinds(step_to(core, asked + 10))
    assert core.topics[77].stakes[REPUTER.address] == 10_000
    assert balance(core, REPUTER) == before + 20_000


def test_stake_with_a_validator(core):
    coin = Coin("uallo", "12345")
    wish = MsgDelegate(delegator_address=FRIEND.address, validator_address=GENESIS_VALIDATOR, amount=coin)
    done(core, FRIEND, wish)
    assert core.ledger.validators[GENESIS_VALIDATOR] == {FRIEND.address: 12345}
    assert run(core, FRIEND, replace(wish, validator_address="allovaloper1nobody")).code == 18
    assert run(core, FRIEND, replace(wish, amount=Coin("stone", "5"))).code == 18
    assert run(core, FRIEND, replace(wish, amount=Coin("uallo", str(10**30)))).code == 5


def test_registrations_come_and_go(core):
    register(core, WORKER)
    assert run(core, WORKER, e.RegisterRequest(sender=WORKER.address, topic_id=77, owner=WORKER.address)).code == 8
    done(core, WORKER, e.RemoveRegistrationRequest(sender=WORKER.address, topic_id=77))
    assert run(core, WORKER, e.RemoveRegistrationRequest(sender=WORKER.address, topic_id=77)).code == 10
    register(core, WORKER)


def test_the_price_of_gas_rises_with_full_blocks_and_falls_back(core):
    core.market.largest_block = 400_000
    message = e.RegisterRequest(sender=WORKER.address, topic_id=5, owner=WORKER.address)
    for _ in range(4):
        for signer in (OWNER, WORKER, REPUTER, FRIEND):
            wish = replace(message, sender=signer.address)
            content = signed(core, signer, wish, fee=10**8)
            assert core.broadcast(content)[1] is None
        core.step(float(core.height + 1))
    assert core.market.price == pytest.approx(10 * 1.125**4)
    _, refusal = core.broadcast(signed(core, WORKER, message, fee=3_000_000))
    assert refusal.code == 13
    assert "insufficient fee" in refusal.log
    assert f"required: {core.market.required(300_000)}uallo" in refusal.log
    step_to(core, core.height + 10)
    assert core.market.price == 10
    assert core.broadcast(signed(core, WORKER, message, fee=3_000_000))[1] is None


def test_a_full_mempool_refuses(core):
    core.largest_mempool = 2
    message = e.RegisterRequest(sender=WORKER.address, topic_id=5, owner=WORKER.address)
    assert core.broadcast(signed(core, WORKER, message))[1] is None
    assert core.broadcast(signed(core, WORKER, message))[1] is None
    assert core.broadcast(signed(core, WORKER, message))[1].code == 20
    core.step(1.0)
    assert core.broadcast(signed(core, WORKER, message))[1] is None


def test_topics_with_different_clocks_run_side_by_side():
    other = replace(SPEC, id=5, cadence_seconds=30, epoch_length=30, ground_truth_lag=60, worker_window=25)
    core = chain(SPEC, other, funded=(WORKER, REPUTER))
    for topic in (5, 77):
        register(core, WORKER, topic=topic)
        register(core, REPUTER, is_reputer=True, topic=topic)
        stake(core, REPUTER, topic=topic)
    while core.height < 400:
        core.step(float(core.height + 1))
        for number, topic in list(core.topics.items()):
            for nonce in topic.worker_nonces():
                if WORKER.address not in topic.nonces[nonce].inferences and core.height % 3 == 0:
                    run(core, WORKER, payload(WORKER, nonce, topic=number))
            for nonce in topic.reputer_nonces():
                ready = topic.reputer_window_open(nonce, core.height + 1) and not topic.nonces[nonce].losses
                if ready:
                    run(core, REPUTER, report(REPUTER, nonce, dict.fromkeys(topic.nonces[nonce].network, -1.0), number))
    fast, slow = core.topics[77], core.topics[5]
    assert all(nonce % 12 == 0 for nonce in fast.nonces)
    assert all(nonce % 30 == 0 for nonce in slow.nonces)
    # the emission is shared by weight, and an epoch of thirty blocks brings more than one of twelve
    paid = {
        number: [sum(sum(part.values()) for part in nonce.rewards.values()) for nonce in topic.nonces.values()
                 if nonce.rewards]
        for number, topic in core.topics.items()
    }  # fmt: skip
    assert len(paid[77]) > len(paid[5]) >= 3
    assert max(paid[5]) < 30 * core.module.block_emission
    assert balance(core, WORKER) > FUNDS
