#!/usr/bin/env bash
# The tests that need real engines: Apache Kafka and ClickHouse. It installs what they need, runs
#   1. the tests tagged `integration`: the engines themselves, ClickHouse as a warehouse, TLS and SCRAM, several processes on three brokers;
#   2. every test that touches Kafka once more, on Apache Kafka instead of the embedded broker, the end-to-end tests included;
#   3. the demo's pages by axe, where npm can fetch it and a browser is there,
#   4. a short run of the crash test on both brokers,
# and says how many tests ran on what. `make integration` calls it.
set -euo pipefail
cd "$(dirname "$0")/../.."
began=$SECONDS
work=$(mktemp -d)
kafka=
finish() {
  [ -z "$kafka" ] || kill -INT "$kafka" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
step() { printf '\n-- %s (%d s)\n' "$1" $((SECONDS - began)); }

step "Java, Maven, Python"
missing=()
command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
command -v mvn >/dev/null || missing+=(maven)
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "please install: ${missing[*]}" >&2
    exit 1
  fi
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"; } >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; exit 1; }
fi

step "fetching the engines"
go build -o "$work/kafka" ./deploy/local/kafka
go build -o "$work/clickhouse" ./deploy/local/clickhouse
"$work/kafka" -fetch
"$work/clickhouse" --fetch

# tests NAME ARGUMENTS… runs go test and counts what passed.
declare -A passed
tests() {
  local name=$1
  shift
  go test -count=1 -json "$@" >"$work/tests.json" || { go run ./deploy/local/testlog <"$work/tests.json"; exit 1; }
  passed[$name]=$(go run ./deploy/local/testlog -count <"$work/tests.json")
  [ "${passed[$name]}" -gt 0 ] || { echo "no test ran: $name" >&2; exit 1; }
  echo "${passed[$name]} tests passed: $name"
}

step "tests tagged integration"
tests "real engines" -tags integration -p 1 ./deploy/... ./internal/warehouse/... ./privacyfilter/tables ./risk/tables ./replay/...
tests "processes on real engines" -tags integration -p 1 -run 'Kafka|ClickHouse|Apart' ./cmd/sluice

step "tests that touch Kafka, on Apache Kafka"
"$work/kafka" -dir "$work/data" >"$work/kafka.out" 2>&1 &
kafka=$!
for _ in $(seq 300); do
  grep -q '^ready' "$work/kafka.out" && break
  kill -0 "$kafka" 2>/dev/null || { cat "$work/kafka.out" >&2; exit 1; }
  sleep 0.2
done
SLUICE_TEST_KAFKA=$(sed -n 's/^  brokers: \[\(.*\)\]$/\1/p' "$work/kafka.out")
export SLUICE_TEST_KAFKA
version=$(sed -n 's/^ready: \(Apache Kafka [0-9.]*\).*/\1/p' "$work/kafka.out")
tests "packages on $version" -p 1 ./internal/stream ./internal/topics ./internal/catalog ./internal/warehouse ./ingest ./ingest/inbound ./ingest/deadletter \
  ./ingest/collector ./features ./privacyfilter/filter ./privacyfilter/consent ./privacyfilter/settings ./risk
tests "the whole path on $version" -run 'TestReplay|TestOffIsObeyed|TestNothingOfBefore|TestDeletedFootprint' ./cmd/sluice
kill -INT "$kafka"
wait "$kafka" || true
kafka=
unset SLUICE_TEST_KAFKA

step "the demo's pages, by axe"
if command -v npm >/dev/null && { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null &&
  npm install --silent --no-save --prefix "$work/axe" axe-core@4.14.1 >"$work/npm.log" 2>&1; then
  SLUICE_AXE="$work/axe/node_modules/axe-core/axe.min.js" tests "pages by axe" -run TestPagesAreAccessible ./cmd/sluice
else
  echo "axe or a browser is not to be had here: the pages were checked by our own rules alone"
fi

step "crashes"
go build -o "$work/sluice" ./cmd/sluice
for broker in embedded kafka; do
  go run ./systemtest crash --broker "$broker" --faults "${SLUICE_CRASH_FAULTS:-10}" --sluice "$work/sluice"
done

step "done"
for name in "${!passed[@]}"; do echo "${passed[$name]} tests: $name"; done
