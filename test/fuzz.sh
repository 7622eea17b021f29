#!/bin/sh
# Runs every fuzz target for FUZZTIME, one after the other: so many inputs, for a run that ends by
# the clock now and then fails with its own deadline. What is interesting is
# kept in Go's build cache; what fails is written to testdata/fuzz, to be committed.
# With the argument keep it runs none, but puts a selection of what the cache holds into the tree,
# as testdata/fuzz/<target>/kept-…, which every go test runs from then on.
set -eu
go=${GO:-go} time=${FUZZTIME:-1000x} count=0
cache=$("$go" env GOCACHE)/fuzz

fuzz() { # package, folder, target
	# Shrinking what is interesting would take most of so short a time.
	"$go" test -run '^$' -fuzz "^$3\$" -fuzztime "$time" -fuzzminimizetime 1x "$1"
}

# From the smallest to the largest, ten of them, with the arguments that the newest has: the cache still
# holds what was found when a target took others. What looks like a credential is left out: who
# searches the tree for such would find it.
keep() { # package, folder, target
	rm -f "$2/testdata/fuzz/$3"/kept-*
	[ -d "$cache/$1/$3" ] || return 0
	mkdir -p "$2/testdata/fuzz/$3"
	(
		cd "$cache/$1/$3"
		find . -type f -size -2049c -exec grep -LE 'AKIA|gh[a-z]_|xox[a-z]-|PRIVATE KEY|eyJ|whsec_|sk_|glpat|AIza' {} + | xargs ls -Sr |
			xargs awk 'FNR == 1 { file[++n] = FILENAME; next } { sub(/\(.*/, ""); arguments[n] = arguments[n] " " $0 }
				END { for (i = 2; i <= n; i++) if (arguments[i] == arguments[1]) print file[i] }' "$(find . -type f -exec ls -t {} + | sed -n 1p)" |
			awk '{ all[NR] = $0 } END { last = 0; for (i = 0; i < 10; i++) { k = 1 + int(i * (NR - 1) / 9); if (k > last && k <= NR) print all[last = k] } }'
	) | while read -r file; do cp "$cache/$1/$3/$file" "$2/testdata/fuzz/$3/kept-${file#./}"; done
}

for package in $("$go" list ./...); do
	dir=$("$go" list -f '{{.Dir}}' "$package")
	for target in $(cat "$dir"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do
		"${1:-fuzz}" "$package" "$dir" "$target"
		count=$((count + 1))
	done
done
[ "$count" -gt 20 ] || { echo "fuzz: only $count targets found" >&2; exit 1; }
if [ "${1:-fuzz}" = fuzz ]; then
	echo "fuzz: $count targets, $time each"
else
	"$go" test -run '^Fuzz' ./... # what is of another type now does not run
fi
