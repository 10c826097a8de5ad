# The image of tftserve: the program, ONNX Runtime, the licence texts, and the few
# libraries of Debian they need. No shell, no package manager, not root, no model:
# a release names its model by TFT_MODEL.
#
# `make image` builds it and looks at the result. Who publishes one passes the
# three images pinned by digest: --build-arg RUNTIME_IMAGE=...@sha256:...

# Debian 12's glibc in the building stages, 13's in the last: what is linked
# against the older one runs on both.
ARG GO_IMAGE=golang:1.26-bookworm
ARG NODE_IMAGE=node:24-bookworm
# cc, not base or static: ONNX Runtime needs libstdc++ and libgcc_s.
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian13:nonroot

FROM ${NODE_IMAGE} AS onnxruntime
WORKDIR /onnxruntime
COPY third_party/onnxruntime ./
RUN ./fetch.sh /out

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=1 go build -trimpath -buildvcs=false \
    -ldflags "-s -w -buildid= -X github.com/tftctl/tftctl/pkg/version.number=${VERSION}" \
    -o /out/tftserve ./cmd/tftserve

# What changes least comes first.
FROM ${RUNTIME_IMAGE}
COPY --from=onnxruntime --chmod=0755 /out/libonnxruntime.so.1 /opt/onnxruntime/libonnxruntime.so.1
COPY --from=onnxruntime --chmod=0644 /out/LICENSE.onnxruntime /licenses/onnxruntime/LICENSE
COPY --chmod=0644 LICENSE /licenses/tftctl/LICENSE
COPY --from=build --chmod=0755 /out/tftserve /usr/local/bin/tftserve
ARG VERSION=dev
LABEL org.opencontainers.image.title="tftserve" \
      org.opencontainers.image.description="Serves ONNX models on Cloud Run and Vertex AI" \
      org.opencontainers.image.source="https://github.com/tftctl/tftctl" \
      org.opencontainers.image.licenses="Apache-2.0 AND MIT" \
      org.opencontainers.image.version="${VERSION}"
ENV ORT_DISABLE_TELEMETRY=1
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/tftserve"]
