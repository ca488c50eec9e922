"""A run can be started only by a run that whoever inserts it can see."""

from django.db import migrations

FORWARDS = """
CREATE FUNCTION job_runs_see_parent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM job_runs WHERE id = NEW.parent_id) THEN
        RAISE foreign_key_violation
            USING MESSAGE = 'run ' || NEW.parent_id || ' is not there, or is another client''s';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER job_runs_see_parent BEFORE INSERT OR UPDATE OF parent_id ON job_runs
    FOR EACH ROW WHEN (NEW.parent_id IS NOT NULL) EXECUTE FUNCTION job_runs_see_parent();
"""
BACKWARDS = """
DROP TRIGGER job_runs_see_parent ON job_runs;
DROP FUNCTION job_runs_see_parent();
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0004_row_security")]
    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
