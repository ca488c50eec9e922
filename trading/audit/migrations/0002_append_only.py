"""The database itself refuses to change, delete or truncate the audit log, whoever asks.

The triggers are statement-level, so that also a statement that matches nothing is refused, and always on, so that
``session_replication_role`` does not switch them off. Whoever owns the table can drop them: the chain shows what is
done then.
"""

from django.db import migrations

FORWARDS = """
CREATE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only: % is refused', TG_OP
        USING ERRCODE = 'insufficient_privilege', HINT = 'docs/audit.md says what to do instead.';
END $$;
CREATE TRIGGER audit_log_refuse_change BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse();
CREATE TRIGGER audit_log_refuse_truncate BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse();
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_refuse_change;
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_refuse_truncate;
"""
BACKWARDS = """
DROP TRIGGER audit_log_refuse_truncate ON audit_log;
DROP TRIGGER audit_log_refuse_change ON audit_log;
DROP FUNCTION audit_log_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
