#!/bin/sh
# Runs a command with a Docker daemon (DOCKER, DOCKER_HOST) and two base images
# made of what this machine has, GO_IMAGE and BASE_IMAGE: nothing is pulled.
# A daemon that runs is used, else one of its own is started, which needs root.
# Where neither can be, it says so and the command is not run: exit code 0.
set -eu

skip() {
	echo "SKIPPED: the images are neither built nor run: $*" >&2
	exit 0
}

[ "$(uname -s)" = Linux ] || skip "this is no Linux"
busybox=$(command -v busybox) || skip "busybox is missing (Debian: busybox-static)"
command -v docker >/dev/null || skip "docker is missing (Debian: docker.io)"

# A client without buildx cannot build with BuildKit, since version 23; Debian's older one can.
DOCKER=docker
if ! docker buildx version >/dev/null 2>&1 && [ -x /usr/bin/docker ]; then
	DOCKER=/usr/bin/docker
fi
export DOCKER

work=$(mktemp -d "${TMPDIR:-/tmp}/kwatchman-docker.XXXXXX")
daemon=
finish() {
	if [ -n "$daemon" ]; then
		kill -9 "$daemon" 2>/dev/null || true # unshare waits out any other signal
		wait "$daemon" 2>/dev/null || true
	fi
	# What a killed daemon leaves mounted went with its namespace.
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if ! $DOCKER info >/dev/null 2>&1; then
	[ "$(id -u)" = 0 ] || skip "no Docker daemon answers, and only root may start one"
	command -v dockerd >/dev/null || skip "no Docker daemon answers, and dockerd is missing (Debian: docker.io)"
	export DOCKER_HOST="unix://$work/docker.sock"
	# Its own namespaces: what it mounts and starts ends with it.
	unshare --mount --pid --fork --kill-child --mount-proc \
		dockerd --bridge=none --iptables=false --data-root "$work/data" --exec-root "$work/exec" \
		--pidfile "$work/pid" --host "$DOCKER_HOST" >"$work/log" 2>&1 &
	daemon=$!
	tries=0
	until $DOCKER info >/dev/null 2>&1; do
		tries=$((tries + 1))
		if [ $tries -gt 150 ] || ! kill -0 $daemon 2>/dev/null; then
			reason=$(grep -v level=info "$work/log" | tail -n 1 | cut -c1-200)
			skip "dockerd does not start here: $reason"
		fi
		sleep 0.2
	done
	KWATCHMAN_TEST_DOCKERD=$(cat "/proc/$daemon/task/$daemon/children" | tr -d ' ')
	export KWATCHMAN_TEST_DOCKERD
fi

# A Go image of busybox and the Go tree; a base of certificates and the users.
goroot=$("${GO:-go}" env GOROOT)
mkdir -p "$work/go/bin" "$work/go/etc/ssl/certs" "$work/go/root" "$work/base/etc/ssl/certs" "$work/base/tmp" "$work/go/tmp"
chmod 1777 "$work/base/tmp" "$work/go/tmp"
cp "$busybox" "$work/go/bin/busybox"
for applet in $("$busybox" --list); do
	[ "$applet" = busybox ] || ln -s busybox "$work/go/bin/$applet"
done
for image in go base; do
	printf 'root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >"$work/$image/etc/passwd"
	printf 'root:x:0:\nnonroot:x:65532:\n' >"$work/$image/etc/group"
	cp /etc/ssl/certs/ca-certificates.crt "$work/$image/etc/ssl/certs/"
done
export GO_IMAGE=kwatchman.test/golang BASE_IMAGE=kwatchman.test/static
mkdir -p "$work/go/usr/local"
ln -s "$goroot" "$work/go/usr/local/go"
tar -C "$work/go" -ch --exclude=./usr/local/go/test --exclude=./usr/local/go/api --exclude=./usr/local/go/doc . 2>/dev/null |
	$DOCKER import -c 'ENV PATH=/usr/local/go/bin:/go/bin:/bin GOPATH=/go GOTOOLCHAIN=local' - $GO_IMAGE >/dev/null
tar -C "$work/base" -c . | $DOCKER import -c 'USER 65532' -c 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' - $BASE_IMAGE >/dev/null

# exec would leave the daemon behind.
"$@"
