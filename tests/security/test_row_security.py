"""What the two logins can do with SQL of their own, asked of Postgres over connections of theirs."""

from collections.abc import Callable, Iterator
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction

from runtime.folder import DataFolder
from runtime.postgres import PostgresServer
from trading.core.scope import NOBODY, ScopeError, current, nobodys_scope, platform_scope, tenant_scope
from trading.execution.models import Position
from trading.jobs import services
from trading.tenants.models import Client

pytestmark = pytest.mark.django_db(transaction=True)

ALPHA, BETA = UUID(int=0xA), UUID(int=0xB)
OWNERLESS = {"audit_heads", "audit_log", "job_runs"}
"""Tables in which a row without a client is the platform's."""
Connect = Callable[[str], psycopg.Connection[Any]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """A connection as a login of production to the database of this test."""
    opened = []
    server = PostgresServer(DataFolder.from_environment())
    name = str(connection.settings_dict["NAME"])

    def open_as(role: str) -> psycopg.Connection[Any]:
        opened.append(psycopg.connect(server.url(name, role)))
        return opened[-1]

    yield open_as
    for link in opened:
        link.close()


@pytest.fixture
def rows() -> None:
    """A position for Alpha, and one for Beta."""
    for number, (key, name) in enumerate(((ALPHA, "Alpha"), (BETA, "Beta")), 1):
        Position.objects.create(client=Client.objects.create(id=key, name=name), symbol="AAPL", realised_pnl=number)


def as_client(link: psycopg.Connection[Any], client_id: UUID) -> None:
    link.execute("SELECT set_config('app.current_client_id', %s, true)", [str(client_id)])


def seen(link: psycopg.Connection[Any]) -> list[UUID]:
    return [row[0] for row in link.execute("SELECT client_id FROM positions ORDER BY client_id").fetchall()]


def test_without_a_context_nothing_is_there(connect: Connect, rows: None) -> None:
    for role in ("quantum_app", "quantum_operator", "quantum"):
        link = connect(role)
        assert seen(link) == [], role
        assert link.execute("UPDATE positions SET realised_pnl = 9").rowcount == 0
        assert link.execute("DELETE FROM positions").rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            link.execute(
                "INSERT INTO positions (client_id, symbol, quantity, average_cost, realised_pnl, updated_at)"
                " VALUES (%s, 'X', 0, 1, 0, now())",
                [ALPHA],
            )


def test_a_context_shows_one_client_and_takes_rows_for_no_other(connect: Connect, rows: None) -> None:
    link = connect("quantum_app")
    as_client(link, ALPHA)
    assert seen(link) == [ALPHA]
    assert link.execute("UPDATE positions SET realised_pnl = 9").rowcount == 1
    assert link.execute("DELETE FROM positions WHERE client_id = %s", [BETA]).rowcount == 0
    for statement in (
        "UPDATE positions SET client_id = %s",
        "INSERT INTO positions (symbol, quantity, average_cost, realised_pnl, updated_at, client_id)"
        " VALUES ('X', 0, 1, 0, now(), %s)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), link.transaction():
            link.execute(statement.encode(), [BETA])


def test_the_context_ends_with_its_transaction(connect: Connect, rows: None) -> None:
    link = connect("quantum_app")
    as_client(link, ALPHA)
    assert seen(link) == [ALPHA]
    link.commit()
    assert seen(link) == []
    link.rollback()
    link.autocommit = True
    as_client(link, ALPHA)  # a SET LOCAL outside a transaction
    assert seen(link) == []


BECOMES_OPERATOR: tuple[LiteralString, ...] = (
    "SET ROLE quantum_operator",
    "SET SESSION AUTHORIZATION quantum_operator",
    "SELECT set_config('role', 'quantum_operator', true)",
    "GRANT quantum_operator TO quantum_app",
)
LOOKS_AT_LOGINS: tuple[LiteralString, ...] = (
    "SELECT * FROM login_sessions",
    "SELECT * FROM refresh_tokens",
    "SELECT * FROM login_failures",
    "SELECT * FROM task_signatures",
)
ESCAPES: tuple[LiteralString, ...] = (
    "SET ROLE quantum",
    "SET ROLE postgres",
    "TRUNCATE positions",
    "ALTER TABLE positions DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE positions NO FORCE ROW LEVEL SECURITY",
    "DROP POLICY tenant ON positions",
    "CREATE POLICY mine ON positions USING (true)",
    "CREATE TABLE mine (id int)",
    "CREATE FUNCTION mine() RETURNS bigint SECURITY DEFINER LANGUAGE sql AS 'SELECT count(*) FROM positions'",
    "COPY positions TO PROGRAM 'cat'",
    "ALTER ROLE quantum_app BYPASSRLS",
    "SET session_replication_role = replica",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT rolpassword FROM pg_authid",
    "UPDATE audit_log SET action = 'x'",
    "DELETE FROM audit_log",
    "TRUNCATE audit_log",
    "DELETE FROM django_migrations",
)


@pytest.mark.parametrize("statement", [*ESCAPES, *BECOMES_OPERATOR, *LOOKS_AT_LOGINS])
def test_the_application_cannot_get_out(connect: Connect, rows: None, statement: LiteralString) -> None:
    link = connect("quantum_app")
    as_client(link, ALPHA)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        link.execute(statement)


@pytest.mark.parametrize(
    "statement", [s for s in ESCAPES if "login_" not in s and "refresh" not in s and "task_" not in s]
)
def test_nor_can_an_operator(connect: Connect, rows: None, statement: LiteralString) -> None:
    link = connect("quantum_operator")
    link.execute("SELECT set_config('app.is_admin', 'on', true)")
    if statement in ("SET ROLE quantum_operator", "SELECT set_config('role', 'quantum_operator', true)") or (
        statement == "SET SESSION AUTHORIZATION quantum_operator"
    ):
        statement = "SET ROLE quantum_app"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        link.execute(statement)


def test_row_security_off_is_an_error_not_a_way_round(connect: Connect, rows: None) -> None:
    link = connect("quantum_app")
    as_client(link, ALPHA)
    link.execute("SET LOCAL row_security = off")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        seen(link)


def test_saying_that_one_is_the_platform_does_not_make_it_so(connect: Connect, rows: None) -> None:
    link = connect("quantum_app")
    link.execute("SELECT set_config('app.is_admin', 'on', true)")
    assert seen(link) == []
    link = connect("quantum_operator")
    link.execute("SELECT set_config('app.is_admin', 'on', true)")
    assert seen(link) == [ALPHA, BETA]


@pytest.mark.parametrize("text", ["", "'; DROP TABLE positions; --", "%", "NULL", "alpha", "0", str(UUID(int=7))])
def test_a_context_that_is_nobody_shows_nothing(connect: Connect, rows: None, text: str) -> None:
    link = connect("quantum_app")
    link.execute("SELECT set_config('app.current_client_id', %s, true)", [text])
    try:
        assert seen(link) == []
    except psycopg.errors.InvalidTextRepresentation:
        link.rollback()


def test_a_pooled_connection_carries_nothing_over_to_the_next_client(connect: Connect, rows: None) -> None:
    link = connect("quantum_app")
    for client_id in (ALPHA, BETA, ALPHA):
        with link.transaction():
            as_client(link, client_id)
            assert seen(link) == [client_id]
        assert seen(link) == []
        link.rollback()


def test_a_fill_cannot_point_at_another_client_s_order(connect: Connect, rows: None) -> None:
    order = _order(ALPHA)
    link = connect("quantum_app")
    as_client(link, BETA)
    link.execute(
        "INSERT INTO trades (id, client_id, order_id, broker, execution_id, symbol, quantity, price, fee, fee_quantity,"
        " realised_pnl, time) VALUES (%s, %s, %s, 'paper', 'E1', 'AAPL', 1, 1, 0, 0, 0, now())",
        [uuid4(), BETA, order],
    )
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="trades_order_id_of_client"):
        link.commit()


def _order(client_id: UUID) -> UUID:
    key = uuid4()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO orders (id, client_id, run_id, sequence, client_order_id, broker, symbol, side, quantity,"
            " reference_price, previous_price, state, filled_quantity, fees, broker_order_id, reason, created_at)"
            " VALUES (%s, %s, %s, 1, 'c1', 'paper', 'AAPL', 'buy', 1, 1, 1, 'intended', 0, 0, '', '', now())",
            [key, client_id, uuid4()],
        )
    return key


# --- The catalogue ---------------------------------------------------------------------------------------------------


def tenant_tables() -> dict[str, str]:
    """The column of each table that says whose a row is: those that lead to a client, of every model there is."""
    found = {"tenants_client": "id"}
    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.concrete_fields:
            if field.is_relation and field.related_model is Client:
                found[model._meta.db_table] = str(field.column)
    return found


def test_every_table_that_leads_to_a_client_is_under_both_policies() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
        forced = {name for (name,) in cursor.fetchall()}
        cursor.execute(
            "SELECT tablename, policyname, roles::text[], permissive, cmd, qual, with_check FROM pg_policies"
            " WHERE schemaname = 'public'"
        )
        policies = {(row[0], row[1]): row[2:] for row in cursor.fetchall()}
    assert set(tenant_tables()) - forced == set(), "put TenantTable(...) of trading.core.rowsecurity in a migration"
    assert {table for table, _ in policies} == forced
    for table in forced:
        roles, permissive, command, using, check = policies[table, "tenant"]
        assert (roles, permissive, command) == (["quantum_app"], "PERMISSIVE", "ALL"), table
        assert using == check, table
        column = tenant_tables().get(table)
        if column is not None:
            assert using.startswith(f"({column} = ( SELECT (NULLIF(current_setting('app.current_client_id'"), table
        roles, permissive, command, using, check = policies[table, "platform"]
        assert (roles, command) == (["quantum_operator"], "ALL"), table
        assert "app.is_admin" in using == check or using == check, table
    assert {table for table, _ in policies} == {table for table, policy in policies if policy == "tenant"}
    assert len(policies) == 2 * len(forced), "a third policy would widen what the two allow"


def test_every_table_that_points_at_a_tenant_s_row_is_a_tenant_s_too() -> None:
    """A child of a tenant's row, such as a run's attempts, has no client of its own and must not be forgotten."""
    known = set(tenant_tables())
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
        forced = {name for (name,) in cursor.fetchall()}
        cursor.execute("SELECT has_table_privilege('quantum_app', c.oid, 'SELECT'), relname FROM pg_class c")
        readable = {name: may for may, name in cursor.fetchall()}
    for model in apps.get_models(include_auto_created=True):
        table = model._meta.db_table
        parents = {
            field.related_model._meta.db_table
            for field in model._meta.concrete_fields
            if field.is_relation and field.related_model is not None and field.related_model is not model
        }
        if parents & (known - {"tenants_user"}) and table not in forced:
            assert not readable.get(table, False), f"{table} leads to {parents & known} and the application may read it"


def test_a_row_without_a_client_only_where_that_is_the_platform_s() -> None:
    nullable = set()
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            if field.is_relation and field.related_model is Client and field.null:
                nullable.add(model._meta.db_table)
    assert nullable == OWNERLESS | {"tenants_user"}


def test_the_logins_own_nothing_and_cannot_pass_by() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolinherit,"
            " (SELECT count(*) FROM pg_class WHERE relowner = r.oid),"
            " (SELECT count(*) FROM pg_auth_members WHERE member = r.oid)"
            " FROM pg_roles r WHERE rolname IN ('quantum_app', 'quantum_operator') ORDER BY 1"
        )
        assert cursor.fetchall() == [
            ("quantum_app", False, False, False, False, False, 0, 0),
            ("quantum_operator", False, False, False, False, False, 0, 0),
        ]
        cursor.execute(
            "SELECT DISTINCT a.privilege_type FROM pg_class c, aclexplode(c.relacl) a WHERE c.relkind = 'r'"
            " AND a.grantee IN ('quantum_app'::regrole, 'quantum_operator'::regrole)"
        )
        assert {name for (name,) in cursor.fetchall()} == {"SELECT", "INSERT", "UPDATE", "DELETE"}


# --- The scope -------------------------------------------------------------------------------------------------------


def test_the_orm_sees_what_its_scope_has(rows: None) -> None:
    def held() -> list[UUID]:
        return list(Position.objects.order_by("client_id").values_list("client_id", flat=True))

    assert held() == [ALPHA, BETA]
    with tenant_scope(ALPHA):
        assert held() == [ALPHA]
        assert Position.objects.filter(client_id=BETA).update(quantity=0) == 0
        with nobodys_scope():
            assert held() == []
        with transaction.atomic():
            assert held() == [ALPHA]
            with transaction.atomic(), tenant_scope(ALPHA):
                assert held() == [ALPHA]
        assert list(Position.objects.filter(symbol="AAPL").iterator(chunk_size=1)) != []
    assert held() == [ALPHA, BETA]


def test_a_transaction_belongs_to_one_scope(rows: None) -> None:
    for inner in (tenant_scope(BETA), platform_scope(), nobodys_scope()):
        with tenant_scope(ALPHA), transaction.atomic(), pytest.raises(ScopeError), inner:
            raise AssertionError("entered")
    with nobodys_scope():
        assert current() == NOBODY


def test_work_for_a_client_is_enqueued_in_its_scope_and_seen_by_no_other(rows: None) -> None:
    with tenant_scope(ALPHA):
        run = services.enqueue("execution-cycle", client_id=ALPHA).run
        with pytest.raises(services.InvalidArguments):
            services.enqueue("execution-cycle", client_id=BETA)
    with tenant_scope(BETA), pytest.raises(type(run).DoesNotExist):
        type(run).objects.get(id=run.id)


def test_a_run_cannot_be_the_child_of_another_client_s(rows: None) -> None:
    with tenant_scope(ALPHA):
        parent = services.enqueue("execution-cycle", client_id=ALPHA).run
    with tenant_scope(BETA):
        run = services.enqueue("execution-cycle", client_id=BETA).run
        with pytest.raises(IntegrityError, match="is not there, or is another client's"):
            type(run).objects.filter(id=run.id).update(parent_id=parent.id)


def test_references_between_tenants_tables_stay_within_the_client() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT f.conrelid::regclass::text, f.confrelid::regclass::text,
                   array(SELECT attname::text FROM pg_attribute WHERE attrelid = f.conrelid AND attnum = ANY(f.conkey))
              FROM pg_constraint f
              JOIN pg_class child ON child.oid = f.conrelid AND child.relforcerowsecurity
              JOIN pg_class parent ON parent.oid = f.confrelid AND parent.relforcerowsecurity
             WHERE f.contype = 'f' AND parent.relname NOT IN ('tenants_client', 'tenants_user')
            """
        )
        found = [(child, parent, frozenset(columns)) for child, parent, columns in cursor.fetchall()]
    own_column = set(tenant_tables().values()) - {"id"}
    guarded = {(child, parent) for child, parent, columns in found if len(columns) == 2 and columns & own_column}
    through = {
        ("job_attempts", "job_runs"),  # has no client of its own: its policy asks for the run
        ("job_runs", "job_runs"),  # a platform's run starts clients': a trigger looks whether the parent is seen
        ("paper_holdings", "paper_accounts"),  # the account's key is the client
        ("paper_orders", "paper_accounts"),
    }
    assert {(child, parent) for child, parent, _ in found} - guarded - through == set()


def test_the_application_writes_tenants_tables_and_shared_ones_alone() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT c.relname FROM pg_class c, aclexplode(c.relacl) a"
            " WHERE a.grantee = 'quantum_app'::regrole AND c.relkind = 'r' AND NOT c.relforcerowsecurity"
            " AND a.privilege_type <> 'SELECT'"
        )
        assert {name for (name,) in cursor.fetchall()} == {"broker_budgets"}
