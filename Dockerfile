# One image for migrate, api, worker, relay and consumer.
FROM python:3.11.14-slim-bookworm

RUN pip install --no-cache-dir --disable-pip-version-check uv==0.13.8 \
    && useradd --system --create-home --uid 10001 coursaga

WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1

# The packages first: they change less often than the code. What pyproject.toml names with the extra that
# speaks to Kafka, in the versions and with the hashes of the lock file; so nothing that is for development or tests comes along.
COPY pyproject.toml requirements.lock ./
RUN uv venv --python /usr/local/bin/python .venv \
    && uv pip install --verify-hashes --constraints requirements.lock --requirements pyproject.toml --extra kafka

COPY README.md consumer.py relay.py worker.py ./
COPY activities activities
COPY api api
COPY application application
COPY cli cli
COPY db db
COPY domain domain
COPY gateways gateways
COPY runtime runtime
COPY workflows workflows
RUN uv pip install --no-deps .

# Which build runs: recorded with every worker. An image has no git to ask.
ARG COURSAGA_BUILD
ENV COURSAGA_BUILD=$COURSAGA_BUILD COURSAGA_HOME=/tmp/coursaga

USER coursaga
CMD ["coursaga", "--help"]
