"""Trades on a gateway with a public client library; run as ``python public_ib_client.py LIBRARY PORT SCENARIO [ARGS]``.

It stands alone, so that it runs in an environment that holds only the library. What it saw is its output, as JSON.
"""

import contextlib
import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

LIBRARY, PORT, SCENARIO = sys.argv[1], int(sys.argv[2]), sys.argv[3]
lib: Any = importlib.import_module(LIBRARY)


def connect(client_id: int = 7) -> Any:
    ib = lib.IB()
    ib.RequestTimeout = 3
    ib.connect("127.0.0.1", PORT, clientId=client_id, timeout=3)
    return ib


def until(ib: Any, condition: Callable[[], bool], seconds: float = 3) -> None:
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        ib.sleep(0.02)
    raise TimeoutError("it did not come about")


def rest(ib: Any, seconds: float) -> None:
    with contextlib.suppress(ConnectionError):
        ib.sleep(seconds)


def apple() -> Any:
    return lib.Stock("AAPL", "SMART", "USD")


def order(kind: str, *values: Any, ref: str) -> Any:
    return getattr(lib, kind)(*values, orderRef=ref)


def trade() -> dict[str, Any]:
    """Everything that a trader does on a day."""
    ib = connect()
    seen: dict[str, Any] = {"accounts": ib.managedAccounts(), "version": ib.client.serverVersion()}
    stock = apple()
    ib.qualifyContracts(stock)
    future = lib.Future("IND", "202803", "CME")
    ib.qualifyContracts(future)
    seen["con_ids"] = [stock.conId, future.conId]
    seen["multiplier"] = future.multiplier
    seen["unknown"] = ib.reqContractDetails(lib.Stock("NOSUCH", "SMART", "USD"))
    seen["symbols"] = [found.contract.symbol for found in ib.reqMatchingSymbols("micro")]
    (chain,) = ib.reqSecDefOptParams("IND", "CME", "FUT", future.conId)
    seen["chain"] = [chain.tradingClass, chain.multiplier, chain.expirations, min(chain.strikes), max(chain.strikes)]
    bought = ib.placeOrder(stock, order("MarketOrder", "BUY", 10, ref="bought"))
    until(ib, lambda: bought.orderStatus.status == "Filled" and bool(bought.fills[0].commissionReport.execId))
    fill = bought.fills[0]
    seen["bought"] = [fill.execution.side, fill.execution.shares, fill.execution.price, fill.execution.orderRef]
    seen["commission"] = [fill.commissionReport.commission, fill.commissionReport.currency]
    waits = ib.placeOrder(stock, order("LimitOrder", "BUY", 5, 150, ref="waits"))
    until(ib, lambda: waits.orderStatus.status == "Submitted")
    waits.order.lmtPrice = 151
    ib.placeOrder(stock, waits.order)
    until(ib, lambda: waits.log[-1].message == "Modified")
    seen["open"] = [[t.order.orderRef, t.order.lmtPrice, t.order.clientId] for t in ib.reqAllOpenOrders()]
    ib.cancelOrder(waits.order)
    until(ib, lambda: waits.orderStatus.status == "Cancelled")
    seen["completed"] = sorted(
        [t.order.orderRef, t.orderStatus.status, t.order.orderId] for t in ib.reqCompletedOrders(False)
    )
    seen["executions"] = [[done.execution.execId, done.execution.shares] for done in ib.reqExecutions()]
    until(ib, lambda: bool(ib.positions()))
    seen["positions"] = [[p.contract.symbol, p.position, p.avgCost] for p in ib.positions()]
    seen["cash"] = next(v.value for v in ib.accountSummary() if v.tag == "TotalCashValue")
    option = lib.FuturesOption("IND", "202803", 4000, "C", "CME", multiplier="50", tradingClass="EX1")
    ib.qualifyContracts(option)
    ticker = ib.reqMktData(option)
    until(ib, lambda: ticker.modelGreeks is not None)
    greeks = ticker.modelGreeks
    seen["greeks"] = [greeks.impliedVol, greeks.delta, greeks.gamma, greeks.vega, greeks.theta, greeks.undPrice]
    seen["quote"] = [ticker.bid, ticker.ask]
    seen["bars"] = len(ib.reqHistoricalData(stock, "", "5 D", "1 day", "TRADES", True))
    state = ib.whatIfOrder(stock, order("LimitOrder", "BUY", 10, 150, ref="trial"))
    seen["what_if"] = state.initMarginChange
    for part in ib.bracketOrder("BUY", 1, 210, 300, 100):
        ib.placeOrder(stock, part)
    until(ib, lambda: sum(t.orderStatus.status == "Submitted" for t in ib.openTrades()) == 2)
    seen["bracket"] = sorted([t.order.action, t.order.orderType] for t in ib.openTrades())
    ib.reqGlobalCancel()
    until(ib, lambda: not ib.openTrades())
    ib.disconnect()
    return seen


def errors(request: Callable[[Any], Any]) -> dict[str, Any]:
    """The error codes that a request brings, and its answer."""
    ib = connect()
    codes: list[list[int]] = []
    ib.errorEvent += lambda request_id, code, message, contract: codes.append([request_id, code])
    answer = request(ib)
    rest(ib, 0.3)
    ib.disconnect()
    return {"codes": [code for _, code in codes], "answer": answer}


def place(ref: str = "one") -> dict[str, Any]:
    def request(ib: Any) -> Any:
        placed = ib.placeOrder(apple(), order("MarketOrder", "BUY", 10, ref=ref))
        rest(ib, 0.6)
        return [
            placed.orderStatus.status,
            [[f.execution.execId, f.execution.price, f.commissionReport.commission] for f in placed.fills],
        ]

    return errors(request)


def modify() -> dict[str, Any]:
    def request(ib: Any) -> Any:
        placed = ib.placeOrder(apple(), order("LimitOrder", "BUY", 10, 150, ref="modified"))
        until(ib, lambda: placed.orderStatus.status == "Submitted")
        placed.order.lmtPrice = 160
        ib.placeOrder(apple(), placed.order)
        ib.sleep(0.3)
        return [placed.orderStatus.status, [t.order.lmtPrice for t in ib.reqAllOpenOrders()]]

    return errors(request)


def quote() -> dict[str, Any]:
    def request(ib: Any) -> Any:
        option = lib.FuturesOption("IND", "202803", 4000, "C", "CME", multiplier="50", tradingClass="EX1")
        ticker = ib.reqMktData(option)
        ib.sleep(0.4)
        delta = None if ticker.modelGreeks is None else ticker.modelGreeks.delta
        return [ticker.bid == ticker.bid, delta, ticker.marketDataType]  # not a number is not equal to itself

    return errors(request)


def history() -> dict[str, Any]:
    def request(ib: Any) -> Any:
        return [len(ib.reqHistoricalData(apple(), "", "2 D", "1 day", "TRADES", True)) for _ in range(2)]

    return errors(request)


def ask(question: str) -> dict[str, Any]:
    def request(ib: Any) -> Any:
        try:
            return len(getattr(ib, question)())
        except (TimeoutError, ConnectionError) as error:
            return type(error).__name__

    return errors(request)


def connecting() -> dict[str, Any]:
    ib = lib.IB()
    codes: list[int] = []
    ib.errorEvent += lambda request_id, code, message, contract: codes.append(code)
    try:
        ib.connect("127.0.0.1", PORT, clientId=7, timeout=1.5)
    except (TimeoutError, ConnectionError) as error:
        return {"codes": codes, "answer": type(error).__name__}
    return {"codes": codes, "answer": "connected", "next_id": ib.client.getReqId()}


def twice() -> dict[str, Any]:
    first = connect()
    second = connecting()
    return {"first": first.isConnected(), **second}


SCENARIOS: dict[str, Callable[..., dict[str, Any]]] = {
    "trade": trade, "place": place, "modify": modify, "quote": quote, "history": history, "ask": ask,
    "connect": connecting, "twice": twice,
}  # fmt: skip
print(json.dumps(SCENARIOS[SCENARIO](*sys.argv[4:])))
