"""A local Allora network on loopback: gRPC, websocket, faucet, topic list."""
