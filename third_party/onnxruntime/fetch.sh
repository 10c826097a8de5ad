#!/bin/sh
# Fetches ONNX Runtime for this machine into the folder DEST: libonnxruntime.so.1
# and its licence. Quick when they are there already. Leaves nothing else behind.
#
# usage: fetch.sh DEST
set -eu

die() {
	printf '%s\n' "fetch.sh: $1" >&2
	[ $# -lt 2 ] || printf '%s\n' "hint: $2" >&2
	exit 1
}

[ $# -eq 1 ] || die "one argument is needed: the folder to put the library in" "usage: fetch.sh bin"
here=$(cd "$(dirname "$0")" && pwd)
dest=$1

# The version is package.json's, its integrity package-lock.json's. The sums pin
# the one file that is used, so that what runs is what was looked at.
case "$(uname -s)/$(uname -m)" in
Linux/x86_64)
	arch=x64
	sum=ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23
	;;
Linux/aarch64 | Linux/arm64)
	arch=arm64
	sum=1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76
	;;
*)
	die "no pinned ONNX Runtime for $(uname -s) on $(uname -m)" "tftserve runs on Linux, x86-64 or arm64; tftctl needs no ONNX Runtime"
	;;
esac

is_pinned() {
	[ -f "$1" ] && [ "$(sha256sum "$1" | cut -d ' ' -f 1)" = "$sum" ]
}

if is_pinned "$dest/libonnxruntime.so.1" && cmp -s "$here/LICENSE" "$dest/LICENSE.onnxruntime"; then
	exit 0
fi

command -v gcc >/dev/null 2>&1 ||
	die "gcc is missing: tftserve, which uses this library, is built with cgo" "on Debian or Ubuntu: apt-get install -y gcc libc6-dev"
command -v npm >/dev/null 2>&1 ||
	die "npm is missing: ONNX Runtime comes from the package onnxruntime-node" "on Debian or Ubuntu: apt-get install -y npm; or install Node.js 20 or later"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cp "$here/package.json" "$here/package-lock.json" "$work/"

# The package's own install script fetches CUDA files from elsewhere: it must not run.
if ! (cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >"$work/log" 2>&1; then
	cat "$work/log" >&2
	die "npm could not install onnxruntime-node" "check that npm reaches its registry: npm ping"
fi

library=$work/node_modules/onnxruntime-node/bin/napi-v6/linux/$arch/libonnxruntime.so.1
is_pinned "$library" || die "the SHA-256 of libonnxruntime.so.1 is not the pinned one" "the package changed: do not use it before somebody has looked; then pin the new sum in $0"

# Beside its place first, then renamed: nobody ever sees half a library.
mkdir -p "$dest"
cp "$library" "$dest/.libonnxruntime.so.1.$$"
chmod 755 "$dest/.libonnxruntime.so.1.$$"
mv -f "$dest/.libonnxruntime.so.1.$$" "$dest/libonnxruntime.so.1"
cp "$here/LICENSE" "$dest/LICENSE.onnxruntime"
