"""Migration operations that put a tenant's rows under Postgres's row security.

Every table whose rows belong to a client names the column, and from then on shows and takes only the rows of the
transaction's scope (`trading.core.scope`), whoever asks: the policies are forced on the schema's owner too, who has
none and so sees nothing.
"""

from typing import Any, LiteralString

from django.conf import settings
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

CLIENT: LiteralString = "(SELECT nullif(current_setting('app.current_client_id', true), '')::uuid)"
IS_ADMIN: LiteralString = "(SELECT current_setting('app.is_admin', true)) = 'on'"


def _logins() -> str:
    return ", ".join(f'"{role}"' for role in settings.DATABASE_ROLES.values())


class _Statements(Operation):
    """An operation that is SQL, and leaves Django's idea of the models alone."""

    reversible = True
    reduces_to_sql = True

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Nothing changes."""

    def forwards(self) -> list[str]:
        """The statements."""
        raise NotImplementedError

    def backwards(self) -> list[str]:
        """Those that undo them."""
        raise NotImplementedError

    def database_forwards(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, *_: Any) -> None:
        """Run the statements."""
        for statement in self.forwards():
            schema_editor.execute(statement)

    def database_backwards(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, *_: Any) -> None:
        """Run those that undo them."""
        for statement in self.backwards():
            schema_editor.execute(statement)


class TenantTable(_Statements):
    """Row security on ``table``: a tenant has the rows whose ``column`` is its id, the platform has all.

    ``belongs`` stands in for the comparison where a row finds its client through another table.
    """

    def __init__(self, table: str, *, column: str = "client_id", belongs: str | None = None) -> None:
        self.table, self.column, self.belongs = table, column, belongs

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """How a migration writes it."""
        return type(self).__name__, [self.table], {"column": self.column, "belongs": self.belongs}

    def describe(self) -> str:
        """As ``migrate --plan`` shows it."""
        return f"Row security on {self.table}"

    def forwards(self) -> list[str]:
        """Enable, force, one policy for each role."""
        app, operator = settings.DATABASE_ROLES["app"], settings.DATABASE_ROLES["operator"]
        belongs = self.belongs or f"{self.column} = {CLIENT}"
        return [
            f"ALTER TABLE {self.table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            f'CREATE POLICY tenant ON {self.table} TO "{app}" USING ({belongs}) WITH CHECK ({belongs})',
            f'CREATE POLICY platform ON {self.table} TO "{operator}" USING ({IS_ADMIN}) WITH CHECK ({IS_ADMIN})',
            f'GRANT INSERT, UPDATE, DELETE ON {self.table} TO "{app}"',
        ]

    def backwards(self) -> list[str]:
        """As before."""
        return [
            f'REVOKE INSERT, UPDATE, DELETE ON {self.table} FROM "{settings.DATABASE_ROLES["app"]}"',
            f"DROP POLICY platform ON {self.table}",
            f"DROP POLICY tenant ON {self.table}",
            f"ALTER TABLE {self.table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY",
        ]


class PlatformTable(_Statements):
    """``table`` is the platform's alone: the application's login cannot even look at it in a tenant's scope."""

    def __init__(self, table: str) -> None:
        self.table = table

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """How a migration writes it."""
        return type(self).__name__, [self.table], {}

    def describe(self) -> str:
        """As ``migrate --plan`` shows it."""
        return f"{self.table} is the platform's alone"

    def forwards(self) -> list[str]:
        """Take the rights that every table comes with."""
        return [f'REVOKE ALL ON {self.table} FROM "{settings.DATABASE_ROLES["app"]}"']

    def backwards(self) -> list[str]:
        """Give them back."""
        return [f'GRANT SELECT ON {self.table} TO "{settings.DATABASE_ROLES["app"]}"']


class SharedTable(_Statements):
    """``table`` is written in tenants' scopes without being a tenant's: it must hold nothing of theirs."""

    def __init__(self, table: str) -> None:
        self.table = table

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """How a migration writes it."""
        return type(self).__name__, [self.table], {}

    def describe(self) -> str:
        """As ``migrate --plan`` shows it."""
        return f"{self.table} is written for all clients"

    def forwards(self) -> list[str]:
        """Give what only tenants' tables come with."""
        return [f'GRANT INSERT, UPDATE, DELETE ON {self.table} TO "{settings.DATABASE_ROLES["app"]}"']

    def backwards(self) -> list[str]:
        """Take it."""
        return [f'REVOKE INSERT, UPDATE, DELETE ON {self.table} FROM "{settings.DATABASE_ROLES["app"]}"']


class AppendOnly(_Statements):
    """Rows of ``table`` are written once: no login of the running platform may change or delete them."""

    def __init__(self, table: str) -> None:
        self.table = table

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """How a migration writes it."""
        return type(self).__name__, [self.table], {}

    def describe(self) -> str:
        """As ``migrate --plan`` shows it."""
        return f"{self.table} is only added to"

    def forwards(self) -> list[str]:
        """Take the rights that every table comes with."""
        return [f"REVOKE UPDATE, DELETE ON {self.table} FROM {_logins()}"]

    def backwards(self) -> list[str]:
        """Give them back."""
        return [f"GRANT UPDATE, DELETE ON {self.table} TO {_logins()}"]


class SameTenant(_Statements):
    """A row of ``table`` points by ``column`` only at a row of ``parent`` that has the same client."""

    def __init__(self, table: str, column: str, parent: str) -> None:
        self.table, self.column, self.parent = table, column, parent

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """How a migration writes it."""
        return type(self).__name__, [self.table, self.column, self.parent], {}

    def describe(self) -> str:
        """As ``migrate --plan`` shows it."""
        return f"{self.table}.{self.column} stays within the client"

    def forwards(self) -> list[str]:
        """A key of both columns at the parent, and a reference to it."""
        return [
            f"ALTER TABLE {self.parent} ADD CONSTRAINT {self.parent}_of_client UNIQUE (client_id, id)",
            f"ALTER TABLE {self.table} ADD CONSTRAINT {self.table}_{self.column}_of_client"
            f" FOREIGN KEY (client_id, {self.column}) REFERENCES {self.parent} (client_id, id)"
            " DEFERRABLE INITIALLY DEFERRED",
        ]

    def backwards(self) -> list[str]:
        """As before."""
        return [
            f"ALTER TABLE {self.table} DROP CONSTRAINT {self.table}_{self.column}_of_client",
            f"ALTER TABLE {self.parent} DROP CONSTRAINT {self.parent}_of_client",
        ]


class Rights(_Statements):
    """What the two logins may do with tables, those of now and of later.

    Operators read and write rows. The application reads; what it may write, `TenantTable` and `SharedTable` say.
    """

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """How a migration writes it."""
        return type(self).__name__, [], {}

    def describe(self) -> str:
        """As ``migrate --plan`` shows it."""
        return "Rights of the application's and the operators' logins"

    def forwards(self) -> list[str]:
        """Give."""
        operator = f'"{settings.DATABASE_ROLES["operator"]}"'
        writing = "INSERT, UPDATE, DELETE"
        return [
            f"GRANT USAGE ON SCHEMA public TO {_logins()}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {_logins()}",
            f"GRANT {writing} ON ALL TABLES IN SCHEMA public TO {operator}",
            f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {_logins()}",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {_logins()}",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {writing} ON TABLES TO {operator}",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {_logins()}",
            f"REVOKE {writing} ON django_migrations FROM {operator}",
        ]

    def backwards(self) -> list[str]:
        """Take."""
        return [
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON SEQUENCES FROM {_logins()}",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM {_logins()}",
            f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {_logins()}",
            f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {_logins()}",
        ]
