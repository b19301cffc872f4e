# One image for the app and its workers; see docs/operate.md. Nothing here needs torch: it is for training.
# The base brings tzdata, without which TZ names no zone.
FROM python:3.11.14-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# The owner of the films; whoever is not they cannot read them.
RUN useradd --uid 10001 --user-group --create-home --shell /usr/sbin/nologin neuraray \
    && install --directory --owner=neuraray --group=neuraray --mode=0700 /var/lib/neuraray

WORKDIR /app
COPY requirements.txt ./
RUN grep -vE '^(torch|torchvision|grad-cam|onnx|onnxscript)==' requirements.txt > /tmp/requirements.txt \
    && pip install --requirement /tmp/requirements.txt \
    && rm /tmp/requirements.txt

COPY pyproject.toml LICENSE streamlit_app.py ./
COPY .streamlit .streamlit
COPY config config
COPY models models
COPY pages pages
COPY cxr_core cxr_core
RUN pip install --no-deps --editable .

USER 10001:10001
ENV CXR_HOME=/var/lib/neuraray
VOLUME ["/var/lib/neuraray"]
CMD ["cxr", "worker"]
