FROM python:3.11-slim-bookworm AS builder

# Only the lock, so that an edit of the service doesn't install everything again.
COPY requirements.lock /tmp/
# The base image's pip installs from outside, so the environment that is shipped holds none.
# Compiled here, because a read-only container can't keep bytecode and would compile everything at each start.
# By hash and not by time: survives tools that rewrite times, and a file mounted over one of these still counts.
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --disable-pip-version-check --no-cache-dir --no-compile \
        --require-hashes -r /tmp/requirements.lock \
 && python -m compileall -q --invalidation-mode checked-hash /opt/venv/lib

WORKDIR /app
COPY LICENSE gunicorn.conf.py wsgi.py ./
COPY schemas/ schemas/
COPY contacts_service/ contacts_service/
# Readable by the service's user, even if the checkout is private to its owner.
RUN chmod -R a+rX . && python -m compileall -q --invalidation-mode checked-hash .


FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="contacts-service" \
      org.opencontainers.image.licenses="MIT"

# The numbers are fixed, because the files in a volume belong to numbers and not to names.
RUN groupadd --gid 10001 contacts \
 && useradd --uid 10001 --gid contacts --no-log-init --no-create-home --home-dir /data \
        --shell /usr/sbin/nologin contacts \
 && install -d -o contacts -g contacts -m 750 /data

# Both belong to root: the service can't change its own code.
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /app /app

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CONTACTS_HOST=0.0.0.0 \
    PORT=8000 \
    CONTACTS_REQUIRE_KEY=1 \
    DATABASE_URL=sqlite:////data/contacts.db

WORKDIR /app
# By number, so that an orchestrator can see that it isn't root.
USER 10001:10001
# The only place that is written to, besides /tmp and /dev/shm.
VOLUME /data
EXPOSE 8000

# /readyz, because who waits for "healthy" wants to send requests; Docker itself restarts nothing for it.
# The timeouts are above the service's own 5 seconds for its database. A proxy from the environment is passed
# over: it couldn't reach this address.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --start-interval=1s --retries=3 \
    CMD ["python", "-c", \
         "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + (os.environ.get('PORT') or '8000') + '/readyz', timeout=9)"]

# Without a shell in between, so that gunicorn gets SIGTERM and finishes the requests in flight. It gives them
# 30 seconds, docker stop only 10 unless told: docker stop -t 35.
CMD ["gunicorn", "wsgi:app"]
