"""How a transactional test's tables are emptied: by deleting the few rows there are.

Django's ``flush`` makes new files for every table and index, and then asks of every model whether its content type
and its permissions are there: a quarter of a second of work, after each of the many tests that leave three rows.
"""

import psycopg
from django.db import connection

KEPT = ("django_content_type", "auth_permission")  # a flush writes them again, as they were
APPEND_ONLY = "audit_log"  # refuses even a superuser's DELETE; django_db_setup has taken the trigger of TRUNCATE off


def install() -> None:
    """Let this process's test database have ``testing.empty()``, which leaves what a flush would leave.

    It acts as the server's superuser: rows of every tenant go, in any order, past triggers that keep them. The tables
    are locked first, so that it waits, as a flush does, for what another process is about to commit.
    """
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    deleted = [f'"{table}"' for table in tables if table not in (*KEPT, APPEND_ONLY)]
    target = connection.settings_dict
    with psycopg.connect(
        host=target["HOST"], port=target["PORT"], dbname=target["NAME"], user="postgres", autocommit=True
    ) as superuser:
        superuser.execute("CREATE SCHEMA testing")
        superuser.execute("GRANT USAGE ON SCHEMA testing TO PUBLIC")
        superuser.execute(
            f"""CREATE FUNCTION testing.empty() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
            SET session_replication_role = replica AS $$ BEGIN
                LOCK TABLE {", ".join(deleted)} IN EXCLUSIVE MODE;
                {"".join(f"DELETE FROM {table};" for table in deleted)}
                TRUNCATE {APPEND_ONLY};
            END $$""".encode()
        )


def empty(_test_case: object = None) -> None:
    """Empty the tables: in the place of ``TransactionTestCase._fixture_teardown``."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT testing.empty()")
