"""``python -m tests.venues.ibkr --port N``."""

import argparse
import asyncio
import signal
from datetime import UTC, datetime
from pathlib import Path

from tests.venues.ibkr.control import Desk
from tests.venues.ibkr.gateway import Gateway, Options
from tests.venues.ibkr.ledger import Ledger
from tests.venues.ibkr.market import Pacing
from tests.venues.ibkr.messages import MAX_VERSION


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.venues.ibkr", description="An IB gateway on loopback.")
    parser.add_argument("--port", type=int, default=4002, help="where clients connect; 0 takes a free one")
    parser.add_argument("--control", type=int, default=0, help="the control port; 0 takes a free one")
    parser.add_argument("--ledger", type=Path, default=Path("ibkr.sqlite"), help="the SQLite file; kept between runs")
    parser.add_argument("--version", type=int, default=MAX_VERSION, help="the highest version of the API")
    parser.add_argument("--linger", type=float, default=0.0, help="seconds that a broken client's id stays in use")
    parser.add_argument("--history-window", type=float, default=600.0, help="seconds of the rule of 60 requests")
    return parser.parse_args()


async def main() -> None:
    """Serve until told to stop; the first line says where."""
    args = arguments()
    ledger = Ledger(args.ledger)
    options = Options(version=args.version, linger=args.linger, pacing=Pacing(window=args.history_window))
    gateway = Gateway(ledger, lambda: datetime.now(UTC), options)
    gateway.exchange.work_all()  # an order that was taken when the power went is traded all the same
    clients = await asyncio.start_server(gateway.serve, "127.0.0.1", args.port)
    desk = await asyncio.start_server(Desk(gateway).serve, "127.0.0.1", args.control)
    ports = [server.sockets[0].getsockname()[1] for server in (clients, desk)]
    print(f"clients on 127.0.0.1:{ports[0]}, control on 127.0.0.1:{ports[1]}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    gateway.drop_all()
    ledger.close()


asyncio.run(main())
