# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What scripts/offsets-php and scripts/offsets-python share. They bring row_of FOLDER: prints
# what the headers there say; 0: the source says the same, 1: no headers, 2: it does not.

work=$(mktemp -d "${TMPDIR:-/tmp}/offsets.XXXXXX")
trap 'rm -rf "$work"' EXIT

unpack() { # PACKAGE|DEB|FOLDER: a folder with its headers
	local deb=$1 to=$work/${1##*/}

	if [ -d "$deb" ]; then
		echo "$deb"
		return
	fi
	if [ ! -f "$deb" ]; then
		mkdir "$to.get" && (cd "$to.get" && apt-get -qq -o APT::Sandbox::User=root download "$deb") >&2 || return 1
		deb=$(echo "$to.get"/*.deb)
	fi
	mkdir "$to" && dpkg -x "$deb" "$to" && echo "$to"
}

compare() { # SOURCE PATTERN ARGUMENT...
	local source=$1 pattern=$2 bad=0 seen=0 one folder row r
	shift 2
	# shellcheck disable=SC2046 # names of packages
	[ $# -gt 0 ] || set -- $(apt-cache pkgnames | grep -E "$pattern" | sort -V)
	for one; do
		folder=$(unpack "$one") && row=$(row_of "$folder")
		r=$?
		if [ $r = 1 ]; then
			echo "no headers: ${one##*/}"
			continue
		fi
		seen=$((seen + 1))
		if [ $r = 0 ]; then
			echo "equal: ${one##*/} $row"
		else
			echo "NOT EQUAL: ${one##*/} $row, $source says otherwise"
			bad=1
		fi
	done
	[ $seen -gt 0 ] || return 77
	return $bad
}
