#!/bin/bash
# SPDX-License-Identifier: MIT
# reqtrap on other kernels: boots Debian's kernel packages under emulation, each with a
# memory disk of busybox, reqtrap and a server (init says what is tried). Prints TAP.
# Usage: run.sh [REQTRAP] [PACKAGE...], with a pattern for a package: the newest of
# those that it finds. Needs qemu-system-x86, busybox-static, cpio; nothing is installed.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
root=$(readlink -f "$here/../..")
reqtrap=$(readlink -f "${1:-$root/build/reqtrap}")
shift || true
[ $# -gt 0 ] || set -- 'linux-image-6\.1\.0-[0-9]*-amd64' 'linux-image-6\.12\..*deb12-amd64'
work=$root/build/kernels
seconds=900 # a machine that hangs is given up

# The newest package of that name, downloaded and unpacked: prints its kernel image.
kernel_of() {
	local package dir

	package=$(apt-cache pkgnames linux-image | grep -x "$1" | sort -V | tail -n 1)
	[ -n "$package" ] || { echo "run.sh: apt knows no '$1'" >&2; return 1; }
	dir=$work/$package
	if [ ! -d "$dir/boot" ]; then
		rm -rf "$dir"
		mkdir -p "$dir"
		(cd "$dir" && apt-get -q download "$package" >apt.log 2>&1) || { cat "$dir/apt.log" >&2; return 1; }
		dpkg-deb --fsys-tarfile "$dir"/*.deb | tar -x -C "$dir" --wildcards './boot/vmlinuz*'
		rm "$dir"/*.deb
	fi
	echo "$dir"/boot/vmlinuz*
}

# with_libraries FILE NAME: as a command of that name, and each library that the loader
# finds for it at its own path.
with_libraries() {
	ldd "$1" | grep -o '/[^ ]*' | while IFS= read -r library; do
		mkdir -p "$disk$(dirname "$library")"
		cp -L "$library" "$disk$library"
	done
	cp "$1" "$disk/bin/$2"
}

make_disk() {
	disk=$work/disk
	rm -rf "$disk"
	mkdir -p "$disk"/{bin,dev,proc,sys,tmp,root}
	cp "$here/init" "$(command -v busybox)" "$disk/bin/"
	mv "$disk/bin/init" "$disk/init"
	gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g -o "$work/server" "$here/server.c" -lpthread
	with_libraries "$work/server" server
	with_libraries "$reqtrap" reqtrap
	(cd "$disk" && find . | cpio -o -H newc -R 0:0 2>/dev/null | gzip -1) >"$work/disk.gz"
}

mkdir -p "$work"
make_disk
for pattern; do
	kernel=$(kernel_of "$pattern")
	log=$work/$(basename "$kernel").log
	# what was captured comes out by the second serial line, as a tar file
	timeout -k 5 $seconds qemu-system-x86_64 -m 1G -smp 2 -cpu max -display none -monitor none -nic none -no-reboot \
		-serial stdio -serial "file:$log.tar" -kernel "$kernel" -initrd "$work/disk.gz" \
		-append "console=ttyS0 quiet panic=-1" </dev/null | tr -d '\r' >"$log" || echo "# qemu: $?"
	sed -n '/^TAP version/,$p' "$log" | grep -aE '^(ok|not ok|#|1\.\.)' || { echo "not ok - $kernel does not start"; cat "$log"; }
done
