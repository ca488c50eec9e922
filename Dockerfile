# One image for every process of the Procfile.
FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# A volume takes its owner from the folder that it is mounted on.
RUN useradd --create-home --uid 10001 quantum && install --directory --owner=quantum --mode=700 /audit
WORKDIR /app
COPY requirements/production.txt requirements/
RUN pip install --require-hashes -r requirements/production.txt
COPY . .
# Static files need settings, and settings need secrets: these are random, and end with this step.
RUN for name in SECRET_KEY JWT_SECRET ENCRYPTION_KEY TASK_SIGNING_SECRET CRON_SECRET ADMIN_API_KEY QT_ADMIN_TOKEN; do \
      export "$name=$(python -c 'import secrets; print(secrets.token_urlsafe(48))')"; \
    done; \
    DJANGO_SETTINGS_MODULE=config.settings.production python manage.py collectstatic --noinput -v0
USER quantum
# Compiled for this processor; on another kind a worker has it done anew beside its first runs.
ENV NUMBA_CACHE_DIR=/home/quantum/kernels
RUN python -m trading.quant.warm
EXPOSE 8000
CMD ["python", "-m", "uvicorn", "config.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--no-proxy-headers"]
