"""The pages: /login, and everything else under /app/, clear of the API's paths."""

from django.urls import URLPattern, path
from django.views.generic import RedirectView

from trading.web import account, backtests, broker, dashboard, limits, onboarding, orders, parity, risk, runs, sweeps

app_name = "web"
urlpatterns: list[URLPattern] = [
    path("", RedirectView.as_view(pattern_name="web:dashboard"), name="home"),
    path("login", account.Login.as_view(), name="login"),
    path("logout", account.Logout.as_view(), name="logout"),
    path("app/", dashboard.show, name="dashboard"),
    path("app/onboarding", onboarding.show, name="onboarding"),
    path("app/brokers", broker.index, name="brokers"),
    path("app/brokers/<slug:broker>", broker.connect, name="connect"),
    path("app/brokers/<slug:broker>/test", broker.test, name="test_broker"),
    path("app/brokers/<slug:broker>/disconnect", broker.disconnect, name="disconnect"),
    path("app/orders", orders.index, name="orders"),
    path("app/orders/compare", orders.compare, name="compare"),
    path("app/orders/<uuid:order_id>", orders.show, name="order"),
    path("app/orders/<uuid:order_id>/cancel", orders.cancel, name="cancel_order"),
    path("app/orders/<uuid:order_id>/replace", orders.replace, name="replace_order"),
    path("app/differences/<uuid:difference_id>/explain", orders.explain, name="explain"),
    path("app/differences/<uuid:difference_id>/adopt", orders.adopt, name="adopt"),
    path("app/parameters", limits.show, name="parameters"),
    path("app/risk", risk.show, name="risk"),
    path("app/risk/switch", risk.switch, name="risk_switch"),
    path("app/backtests", backtests.index, name="backtests"),
    path("app/backtests/<str:run_hash>", backtests.show, name="backtest"),
    path("app/backtests/<str:run_hash>/promote", backtests.promote, name="promote"),
    path("app/promotions/<uuid:promotion_id>/demote", backtests.demote, name="demote"),
    path("app/sweeps", sweeps.index, name="sweeps"),
    path("app/sweeps/<str:sweep_hash>", sweeps.show, name="sweep"),
    path("app/parity", parity.show, name="parity"),
    path("app/runs", runs.index, name="runs"),
    path("app/runs/start", runs.start, name="start"),
    path("app/runs/<uuid:run_id>", runs.show, name="run"),
    path("app/runs/<uuid:run_id>/retry", runs.retry, name="retry"),
    path("app/runs/<uuid:run_id>/cancel", runs.cancel, name="cancel"),
]
