"""A position's quantity is the sum of its fills by construction: a trigger on the fills is the only one who writes it."""

from django.db import migrations

FORWARDS = """
CREATE FUNCTION trades_move_positions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.client_id, NEW.symbol, NEW.order_id, NEW.broker, NEW.execution_id)
        IS DISTINCT FROM (OLD.client_id, OLD.symbol, OLD.order_id, OLD.broker, OLD.execution_id) THEN
        RAISE EXCEPTION 'a fill stays with its order' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        UPDATE positions SET quantity = quantity - (OLD.quantity - OLD.fee_quantity), updated_at = now()
        WHERE client_id = OLD.client_id AND symbol = OLD.symbol;
    END IF;
    IF TG_OP IN ('UPDATE', 'INSERT') THEN
        INSERT INTO positions (client_id, symbol, quantity, average_cost, realised_pnl, updated_at)
        VALUES (NEW.client_id, NEW.symbol, NEW.quantity - NEW.fee_quantity, 0, 0, now())
        ON CONFLICT (client_id, symbol) DO UPDATE
        SET quantity = positions.quantity + EXCLUDED.quantity, updated_at = now();
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION positions_refuse_hands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        IF (TG_OP = 'INSERT' AND NEW.quantity <> 0) OR (TG_OP = 'DELETE' AND OLD.quantity <> 0)
            OR (TG_OP = 'UPDATE' AND (NEW.quantity <> OLD.quantity OR NEW.symbol <> OLD.symbol)) THEN
            RAISE EXCEPTION 'the quantity of a position is the sum of its fills: book a fill'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE TRIGGER trades_move_positions AFTER INSERT OR DELETE
    OR UPDATE OF client_id, symbol, order_id, broker, execution_id, quantity, fee_quantity ON trades
    FOR EACH ROW EXECUTE FUNCTION trades_move_positions();
CREATE TRIGGER positions_refuse_hands BEFORE INSERT OR UPDATE OR DELETE ON positions
    FOR EACH ROW EXECUTE FUNCTION positions_refuse_hands();
"""
BACKWARDS = """
DROP TRIGGER positions_refuse_hands ON positions;
DROP TRIGGER trades_move_positions ON trades;
DROP FUNCTION positions_refuse_hands();
DROP FUNCTION trades_move_positions();
"""


class Migration(migrations.Migration):
    dependencies = [("execution", "0004_order_states")]
    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
