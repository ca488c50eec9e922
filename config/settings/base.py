"""Settings shared by every environment. Values come from the process environment and from ``.env``."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import environ
from django.templatetags.static import static
from django.urls import reverse_lazy

from runtime import roles, secrets
from runtime.folder import PROJECT_DIR, DataFolder

BASE_DIR: Path = PROJECT_DIR
env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")  # never overrides what the process environment says

secrets.require(env.ENVIRON)
DATA = DataFolder.from_environment()
VERSION = "0.1.0"

APP_ENV: str = env.str("APP_ENV", default="development")
DEBUG = False
SECRET_KEY: str = env.str("SECRET_KEY", default="")
JWT_SECRET: str = env.str("JWT_SECRET", default="")
SUPABASE_JWT_SECRET: str = env.str("SUPABASE_JWT_SECRET", default="")
JWT_AUDIENCE: str = env.str("JWT_AUDIENCE", default="authenticated")
JWT_LIFETIME = timedelta(seconds=env.int("JWT_LIFETIME_SECONDS", default=3600))
JWT_REFRESH_LIFETIME = timedelta(seconds=env.int("JWT_REFRESH_LIFETIME_SECONDS", default=604800))
ENCRYPTION_KEY: list[str] = env.list("ENCRYPTION_KEY", default=[])
TASK_SIGNING_SECRET: list[str] = env.list("TASK_SIGNING_SECRET", default=[])
CRON_SECRET: str = env.str("CRON_SECRET", default="")
ADMIN_API_KEY: str = env.str("ADMIN_API_KEY", default="")
QT_ADMIN_TOKEN: str = env.str("QT_ADMIN_TOKEN", default="")
FLOWER_BASIC_AUTH: str = env.str("FLOWER_BASIC_AUTH", default="")

# Lets anybody open a client of their own; otherwise it takes ADMIN_API_KEY.
ALLOW_SELF_ONBOARDING: bool = env.bool("ALLOW_SELF_ONBOARDING", default=False)
# Lets `X-Test-Mode-User` name a user, from this machine and outside production only.
ENABLE_DEV_AUTH_BYPASS: bool = env.bool("ENABLE_DEV_AUTH_BYPASS", default=False)

LOG_LEVEL: str = env.str("LOG_LEVEL", default="INFO")
LOGGING_CONFIG = "trading.core.logs.from_settings"
LOGGING = {"level": LOG_LEVEL, "as_json": APP_ENV == "production"}

ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CORS_ALLOWED_ORIGINS: list[str] = env.list("CORS_ORIGINS", default=[])
# Proxies whose X-Forwarded-For is believed; nobody's when empty.
TRUSTED_PROXIES: list[str] = env.list("TRUSTED_PROXIES", default=[])
# Requests a minute; 0: no limit. What is refused (401) has one of its own, so that guessing is slow.
QT_RATE_USER: int = env.int("QT_RATE_USER", default=600)
QT_RATE_CLIENT: int = env.int("QT_RATE_CLIENT", default=1800)
QT_RATE_ADDRESS: int = env.int("QT_RATE_ADDRESS", default=300)
QT_RATE_REFUSED: int = env.int("QT_RATE_REFUSED", default=60)
CORS_URLS_REGEX = r"^/(?!app/|login|logout|admin/(?!emergency-halt)).+"  # the API, not the pages
CORS_ALLOW_METHODS = ["GET", "POST", "DELETE", "OPTIONS"]
CORS_ALLOW_HEADERS = ["accept", "authorization", "content-type", "idempotency-key", "last-event-id", "x-request-id"]
CORS_EXPOSE_HEADERS = ["etag", "idempotency-replayed", "retry-after", "x-request-id"]
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "trading.web.admin_config.OperatorAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "trading.core",
    "trading.tenants",
    "trading.audit",
    "trading.jobs",
    "trading.marketdata",
    "trading.brokers",
    "trading.risk",
    "trading.execution",
    "trading.backtests",
    "trading.operations",
    "trading.web",
    "workers",
]
MIDDLEWARE = [
    "trading.core.middleware.RequestIdMiddleware",
    "trading.core.middleware.ScopeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "trading.audit.actors.ActorMiddleware",
    "trading.core.middleware.PlainBodiesMiddleware",
    "trading.tenants.throttling.GuessLimitMiddleware",
    "trading.core.middleware.JsonErrorsMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
APPEND_SLASH = False
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Postgres: the server of DATABASE_URL, or the embedded one in the data folder, as the schema's owner, who migrates.
# What serves requests and runs jobs logs in as roles that own nothing and are under row security (runtime/roles.py).
DATABASE_URL: str = env.str("DATABASE_URL", default="")
DATABASE_APP_URL: str = env.str("DATABASE_APP_URL", default="")
DATABASE_OPERATOR_URL: str = env.str("DATABASE_OPERATOR_URL", default="")
_OWNER: dict[str, Any] = (
    env.db_url_config(DATABASE_URL or DATABASE_APP_URL)
    if DATABASE_URL or DATABASE_APP_URL
    else {"NAME": "quantum", "USER": "quantum", "HOST": str(DATA.sockets), "PORT": "5432"}
)
DATABASE_ROLES = roles.names(_OWNER["NAME"])
# The web process shares a pool among its requests (config/asgi.py asks for it); every other keeps a connection.
_POOLED = env.bool("QT_DB_POOL", default=False)


def _login(url: str, role: str) -> dict[str, Any]:
    """The settings of one login: of its own address, or on the owner's server."""
    if url:
        login: dict[str, Any] = env.db_url_config(url)
        DATABASE_ROLES[role] = login["USER"]
    else:
        name = DATABASE_ROLES.get(role, _OWNER["USER"])
        login = {**_OWNER, "USER": name}
        if role in DATABASE_ROLES and DATABASE_URL:
            login["PASSWORD"] = roles.password(name, SECRET_KEY)
    login["ENGINE"] = "trading.core.postgres"
    login["CONN_MAX_AGE"] = 0 if _POOLED else None
    login["CONN_HEALTH_CHECKS"] = _POOLED  # a restart of Postgres costs no request
    login["OPTIONS"] = {
        **login.get("OPTIONS", {}),
        "connect_timeout": 3,
        "application_name": "quantum-trader",
        # Below the lease of a run: a stopped process must not hold a row past its rescue.
        "options": "-c statement_timeout=30s -c lock_timeout=10s -c timezone=UTC"
        # A killed process's statement ends with it, and lets go of its rows.
        " -c idle_in_transaction_session_timeout=15s -c client_connection_check_interval=1s",
    }
    if _POOLED:
        login["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 16, "timeout": 5}
    return login


DATABASES: dict[str, dict[str, Any]] = {
    "default": _login(DATABASE_APP_URL, "app"),
    "operator": _login(DATABASE_OPERATOR_URL, "operator"),
    "owner": _login("", "owner"),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "tenants.User"
SESSION_ENGINE = "trading.tenants.session_store"
AUTHENTICATION_BACKENDS = [
    "trading.tenants.backends.PasswordBackend",
    "trading.tenants.backends.OperatorBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# Redis: the server of REDIS_URL, or the embedded one in the data folder.
REDIS_URL: str = env.str("REDIS_URL", default="") or f"unix://{DATA.valkey_socket}?db=0"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "cache",
        "OPTIONS": {"serializer": "trading.core.cache.JsonSerializer"},
    }
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = ["config.formats"]
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
SESSION_COOKIE_AGE = 43_200  # a working day, in seconds
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True  # forms and the API's docs carry the token themselves
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "trading.core.errors.csrf_failed"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/app/"
LOGOUT_REDIRECT_URL = "/login"

# The admin's look and its sidebar. Flower listens on the loopback interface, so its link works there alone.
FLOWER_URL: str = env.str("FLOWER_URL", default=f"http://127.0.0.1:{env.str('FLOWER_PORT', default='5555')}/")


def _link(title: str, icon: str, url: str) -> dict[str, Any]:
    if url.startswith(("/", "http")):
        return {"title": title, "icon": icon, "link": url, "active": lambda request: False}
    return {"title": title, "icon": icon, "link": reverse_lazy(url)}


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Quantum Trader",
    "SITE_HEADER": "Quantum Trader",
    "SITE_SUBHEADER": "Operators",
    "SITE_URL": "/app/",
    "SITE_SYMBOL": "candlestick_chart",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("web/icon.svg")},
    ],
    "SHOW_HISTORY": True,
    "ENVIRONMENT": "trading.web.admin_site.environment",
    "DASHBOARD_CALLBACK": "trading.web.admin_site.dashboard",
    "STYLES": [lambda request: static("web/admin.css")],
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254)",
            "100": "oklch(93% .032 255)",
            "200": "oklch(88% .059 254)",
            "300": "oklch(81% .105 252)",
            "400": "oklch(71% .165 254)",
            "500": "oklch(62% .214 260)",
            "600": "oklch(55% .245 263)",
            "700": "oklch(49% .243 264)",
            "800": "oklch(42% .199 265)",
            "900": "oklch(38% .146 265)",
            "950": "oklch(28% .091 268)",
        }
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": True,
        "navigation": [
            {
                "title": "Work",
                "items": [
                    _link("Overview", "dashboard", "admin:index"),
                    _link("Job runs", "list_alt", "admin:jobs_jobrun_changelist"),
                    _link("Queues", "low_priority", "admin:jobs_jobqueue_changelist"),
                    _link("Schedule", "schedule", "admin:django_celery_beat_periodictask_changelist"),
                    _link("Processes", "memory", "admin:jobs_jobprocess_changelist"),
                ],
            },
            {
                "title": "Trading",
                "items": [
                    _link("Orders", "receipt_long", "admin:execution_order_changelist"),
                    _link("Fills", "swap_horiz", "admin:execution_fill_changelist"),
                    _link("Positions", "account_balance_wallet", "admin:execution_position_changelist"),
                    _link("Risk decisions", "gavel", "admin:risk_riskdecision_changelist"),
                    _link("Guard", "shield", "admin:risk_guard_changelist"),
                    _link("Halts", "front_hand", "admin:risk_halt_changelist"),
                    _link("Candles", "candlestick_chart", "admin:marketdata_candle_changelist"),
                ],
            },
            {
                "title": "Tenants",
                "items": [
                    _link("Clients", "domain", "admin:tenants_client_changelist"),
                    _link("Users", "group", "admin:tenants_user_changelist"),
                    _link("Broker accounts", "key", "admin:brokers_brokeraccount_changelist"),
                    _link("Parameters", "tune", "admin:tenants_parameters_changelist"),
                    _link("Changed settings", "settings", "admin:core_changedsetting_changelist"),
                    _link("Audit log", "history", "admin:audit_auditentry_changelist"),
                ],
            },
            {
                "title": "Elsewhere",
                "items": [
                    _link("Pages", "monitoring", "/app/"),
                    _link("Flower", "local_florist", FLOWER_URL),
                    _link("API", "api", "/api/docs"),
                ],
            },
        ],
    },
}

# Markets and execution.
QUANTUM_TRADER_SYMBOLS: list[str] = env.list("QUANTUM_TRADER_SYMBOLS", default=["BTCUSDT", "ETHUSDT"])
QUANTUM_TRADER_REFRESH_SECONDS: int = env.int("QUANTUM_TRADER_REFRESH_SECONDS", default=180)
QUANTUM_TRADER_EXECUTION_SECONDS: int = env.int("QUANTUM_TRADER_EXECUTION_SECONDS", default=1800)
QUANTUM_TRADER_DISABLE_SCHEDULER: bool = env.bool("QUANTUM_TRADER_DISABLE_SCHEDULER", default=False)
QUANTUM_TRADER_DISABLE_EXECUTION: bool = env.bool("QUANTUM_TRADER_DISABLE_EXECUTION", default=False)


def _decimal(name: str, default: str) -> Decimal:
    return Decimal(env.str(name, default=default))


# Where candles come from: a module of trading/marketdata/providers.
QT_MARKET_PROVIDER: str = env.str("QT_MARKET_PROVIDER", default="synthetic")
BUNDLED_CANDLES = BASE_DIR / "trading" / "marketdata" / "data" / "us_stocks_daily.csv.gz"
QT_CSV_FILE: str = env.str("QT_CSV_FILE", default="") or str(BUNDLED_CANDLES)
QT_CSV_BARS_PER_REFRESH: int = env.int("QT_CSV_BARS_PER_REFRESH", default=0)  # 0: all that there are

# Hosts that brokers' credentials may name beside the venues' own, and networks that those may resolve into.
QT_BROKER_HOSTS: list[str] = env.list("QT_BROKER_HOSTS", default=[])

# The paper venue.
QT_PAPER_CASH = _decimal("QT_PAPER_CASH", "100000")  # what a new client's paper account begins with
QT_PAPER_FEE_BPS = _decimal("QT_PAPER_FEE_BPS", "5")
QT_PAPER_SLIPPAGE_BPS = _decimal("QT_PAPER_SLIPPAGE_BPS", "5")
QT_PAPER_SPREAD_BPS = _decimal("QT_PAPER_SPREAD_BPS", "2")  # between its bid and its ask
QT_PAPER_LATENCY_MS: int = env.int("QT_PAPER_LATENCY_MS", default=0)  # until an order meets the market
QT_PAPER_PARTICIPATION = _decimal("QT_PAPER_PARTICIPATION", "0.1")  # of a bar's volume that one order may take

QT_EXECUTION_MIN_NOTIONAL = _decimal("QT_EXECUTION_MIN_NOTIONAL", "50")
QT_EXECUTION_MAX_ORDERS: int = env.int("QT_EXECUTION_MAX_ORDERS", default=10)
QT_EXECUTION_CASH_BUFFER = _decimal("QT_EXECUTION_CASH_BUFFER", "0")
QT_EXECUTION_ALLOW_PARTIAL: bool = env.bool("QT_EXECUTION_ALLOW_PARTIAL", default=True)
# While it is on, no real venue is called: sessions with one are sessions with the mock venue.
USE_MOCK_BROKER: bool = env.bool("USE_MOCK_BROKER", default=True)
QT_EXECUTION_EXCHANGE: str = env.str("QT_EXECUTION_EXCHANGE", default="paper")
# The money that Binance's orders are paid in, and which of its hosts is called: a URL goes before the flag.
QT_EXECUTION_QUOTE_ASSET: str = env.str("QT_EXECUTION_QUOTE_ASSET", default="USDT")
QT_EXECUTION_BINANCE_TESTNET: bool = env.bool("QT_EXECUTION_BINANCE_TESTNET", default=False)
QT_EXECUTION_BINANCE_URL: str = env.str("QT_EXECUTION_BINANCE_URL", default="")
# Where PhillipCapital's API is, for credentials that name no host; it differs by country.
QT_PHILLIP_URL: str = env.str("QT_PHILLIP_URL", default="")
# How long a venue's answer is waited for; after that what was asked is unknown.
QT_BROKER_TIMEOUT_SECONDS: float = env.float("QT_BROKER_TIMEOUT_SECONDS", default=10.0)
QT_MAX_NOTIONAL_PER_TRADE = _decimal("QT_MAX_NOTIONAL_PER_TRADE", "1000")
QT_MAX_DAILY_LOSS = _decimal("QT_MAX_DAILY_LOSS", "500")
QT_MAX_POSITION_PER_SYMBOL = _decimal("QT_MAX_POSITION_PER_SYMBOL", "0")  # not positive: no limit
QT_MAX_GROSS_EXPOSURE = _decimal("QT_MAX_GROSS_EXPOSURE", "0")  # not positive: no limit
# How far a price may be from the close before, in per cent, before it counts as wrong.
QT_MAX_PRICE_MOVE_PCT = _decimal("QT_MAX_PRICE_MOVE_PCT", "25")
# How far the net delta, as worth, may be from 0, and how many symbols may be held; 0: no limit.
QT_MAX_NET_DELTA = _decimal("QT_MAX_NET_DELTA", "0")
QT_MAX_OPEN_LEGS: int = env.int("QT_MAX_OPEN_LEGS", default=20)
# How far bid and ask may be apart, in per cent of their middle; 0: no limit.
QT_MAX_SPREAD_PCT = _decimal("QT_MAX_SPREAD_PCT", "5")
# After so many losses in a row, each above the second, only closing is allowed; 0: no limit.
QT_BREAKER_LOSSES: int = env.int("QT_BREAKER_LOSSES", default=3)
QT_BREAKER_LOSS = _decimal("QT_BREAKER_LOSS", "500")
# When the market is open, as `America/New_York mon-fri 09:30-16:00` (always when empty), and days on which it is not.
QT_MARKET_HOURS: str = env.str("QT_MARKET_HOURS", default="")
QT_MARKET_HOLIDAYS: list[str] = env.list("QT_MARKET_HOLIDAYS", default=[])
# Every limit that is in force; each needs its module in trading/risk/limits.
RISK_LIMITS = (
    "QT_MAX_NOTIONAL_PER_TRADE",
    "QT_MAX_DAILY_LOSS",
    "QT_MAX_POSITION_PER_SYMBOL",
    "QT_MAX_GROSS_EXPOSURE",
    "QT_MAX_PRICE_MOVE_PCT",
    "QT_MAX_NET_DELTA",
    "QT_MAX_OPEN_LEGS",
    "QT_MARKET_HOURS",
    "QT_MAX_SPREAD_PCT",
    "QT_BREAKER_LOSSES",
)
# The kill switch while nobody has turned it: it refuses every order.
QT_KILL_SWITCH: bool = env.bool("QT_KILL_SWITCH", default=False)
# Whether orders that no person has approved may go where money can move.
AUTONOMOUS_ENABLED: bool = env.bool("AUTONOMOUS_ENABLED", default=False)

# Where the audit log is mirrored as lines of JSON; the signed heads of its chains lie beside it.
QT_ADMIN_AUDIT_PATH: str = env.str("QT_ADMIN_AUDIT_PATH", default="") or str(DATA.root / "admin_audit.log")
# Signs those heads; SECRET_KEY when empty. The first signs, all verify.
QT_AUDIT_SIGNING_KEY: list[str] = env.list("QT_AUDIT_SIGNING_KEY", default=[])

# What attempts record as the code that ran; the checkout's commit when empty.
QT_CODE_VERSION: str = env.str("QT_CODE_VERSION", default="")
# Processes of one worker, and of one worker of the bulk queue; 0: as many as suit the machine.
QT_WORKER_CONCURRENCY: int = env.int("QT_WORKER_CONCURRENCY", default=0)
QT_BULK_CONCURRENCY: int = env.int("QT_BULK_CONCURRENCY", default=0)
# How long runs that have ended are kept.
QT_JOB_RETENTION_DAYS: int = env.int("QT_JOB_RETENTION_DAYS", default=30)
# A folder with further strategies of one's own, one file each, beside trading/backtests/strategies.
QT_STRATEGIES_DIR: str = env.str("QT_STRATEGIES_DIR", default="")
# Where finished backtests leave their artifacts, shared by every host; and how many of a client's are kept.
QT_ARTIFACTS_DIR: str = env.str("QT_ARTIFACTS_DIR", default="") or str(DATA.root / "artifacts")
QT_BACKTEST_RUNS_KEPT: int = env.int("QT_BACKTEST_RUNS_KEPT", default=100)
# How long a worker that was asked to stop lets its steps go on before it gives their runs back.
QT_DRAIN_SECONDS: int = env.int("QT_DRAIN_SECONDS", default=20)
# A file that a worker touches while it is in order; the supervisor restarts one that stops.
QT_HEARTBEAT_FILE: str = env.str("QT_HEARTBEAT_FILE", default="")

# Modules with further jobs of one's own, beside workers/jobs.
QT_JOB_MODULES: list[str] = env.list("QT_JOB_MODULES", default=[])

# Celery carries run ids and nothing else. Acknowledged early, on purpose: docs/decisions/0003.
# The same server as above; a Unix socket is spelled otherwise there.
CELERY_BROKER_URL: str = REDIS_URL.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")
# Who enqueues tries a broker once: kombu by itself sleeps two seconds and then four where it was never reached before.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "max_retries": 0,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_CREATE_MISSING_QUEUES = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "workers.scheduler:LedgerScheduler"
CELERY_BEAT_SYNC_EVERY = 1

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "trading.tenants.authentication.SecretAuthentication",
        "trading.tenants.authentication.JwtAuthentication",
        "trading.tenants.authentication.DevelopmentAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["trading.tenants.permissions.Declared"],
    "DEFAULT_THROTTLE_CLASSES": ["trading.tenants.throttling.CallerThrottle"],
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_PARSER_CLASSES": ["trading.core.parsing.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "trading.tenants.openapi.Schema",
    "EXCEPTION_HANDLER": "trading.core.errors.exception_handler",
    "COERCE_DECIMAL_TO_STRING": True,
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 65_536  # bytes of a request's body; larger ones are refused with 413
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Quantum Trader",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "trading.operations.openapi.add_streams",
        "trading.tenants.openapi.add_common_errors",
        "trading.operations.openapi.add_summaries",
    ],
    "ENUM_NAME_OVERRIDES": {
        "OrderStateEnum": "trading.execution.states.OrderState",
        "RunStateEnum": "trading.jobs.states.State",
    },
    "TAGS": [
        {"name": name}
        for name in ("auth", "clients", "jobs", "runs", "sweeps", "presets", "risk", "settings", "admin", "health")
    ],
    "SERVE_PERMISSIONS": ["trading.tenants.permissions.Declared"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}
