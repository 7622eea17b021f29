#!/bin/sh
# Renders the plain manifests and the chart's README from the chart. With --check
# it changes nothing and fails where they differ from it.
set -eu
cd "$(dirname "$0")/.."
helm=${HELM:-bin/helm} docs=${HELM_DOCS:-bin/helm-docs} chart=deploy/helm/kwatchman

# What only Helm needs does not stand in the plain manifests.
render() {
	"$helm" template kwatchman $chart --namespace kwatchman --skip-tests --set mode="$1" |
		sed -e '/app.kubernetes.io\/managed-by: Helm/d' -e '/helm.sh\//d' -e '/^# Source: /d' |
		awk '
			BEGIN { print "# Rendered from deploy/helm/kwatchman by make manifests; change it there." }
			/^ *$/ { next }
			{ print }'
}

out=.
if [ "${1-}" = --check ]; then
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
fi
for mode in plain/sidecar plain/services knative; do
	mkdir -p "$out/deploy/$mode"
	render "${mode#plain/}" >"$out/deploy/$mode/kwatchman.yaml"
done
mkdir -p "$out/$chart"
"$docs" --chart-search-root $chart --dry-run --log-level warning --sort-values-order file --skip-version-footer >"$out/$chart/README.md"

if [ "$out" != . ]; then
	for file in deploy/plain/sidecar/kwatchman.yaml deploy/plain/services/kwatchman.yaml deploy/knative/kwatchman.yaml $chart/README.md; do
		diff -u "$file" "$out/$file" || {
			echo "$file is not what the chart gives; run make manifests" >&2
			exit 1
		}
	done
fi
