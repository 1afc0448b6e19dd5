#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The tables of the language readers against the interpreters' own headers, of the versions
# that apt can give here; and that a wrong table is noticed.

ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)

headers() { # PACKAGE SCRIPT: unpacked to $BATS_FILE_TMPDIR/PACKAGE
	[[ ! -d $BATS_FILE_TMPDIR/$1 ]] || return 0
	mkdir "$BATS_FILE_TMPDIR/$1.deb"
	(cd "$BATS_FILE_TMPDIR/$1.deb" && apt-get -qq -o APT::Sandbox::User=root download "$1") >/dev/null 2>&1 ||
		skip "package $1 cannot be had"
	dpkg -x "$BATS_FILE_TMPDIR/$1.deb"/*.deb "$BATS_FILE_TMPDIR/$1"
}

changed_copy() { # FILE FROM TO: the scripts with a table that says otherwise, in $BATS_TEST_TMPDIR
	mkdir "$BATS_TEST_TMPDIR/src"
	cp -r "$ROOT/scripts" "$BATS_TEST_TMPDIR/"
	cp "$ROOT"/src/lang_*.[ch] "$BATS_TEST_TMPDIR/src/"
	sed "s/$2/$3/" "$ROOT/src/$1" >"$BATS_TEST_TMPDIR/src/$1"
	! cmp -s "$ROOT/src/$1" "$BATS_TEST_TMPDIR/src/$1"
}

@test "offsets: PHP's rows are what its headers say" {
	headers php8.2-dev
	run "$ROOT/scripts/offsets-php" "$BATS_FILE_TMPDIR/php8.2-dev"
	echo "$output"
	[[ $status == 0 && $output == "equal: php8.2-dev { 8, 2, "* ]]
	changed_copy lang_php.c '{ 8, 2, 488, 48, 152, 160' '{ 8, 2, 488, 48, 144, 160'
	run "$BATS_TEST_TMPDIR/scripts/offsets-php" "$BATS_FILE_TMPDIR/php8.2-dev"
	echo "$output"
	[[ $status == 1 && $output == *"NOT EQUAL: php8.2-dev { 8, 2, 488, 48, 152, 160, "* ]]
}

@test "offsets: Python's rows are what its headers say" {
	headers libpython3.11-dev
	run "$ROOT/scripts/offsets-python" "$BATS_FILE_TMPDIR/libpython3.11-dev"
	echo "$output"
	[[ $status == 0 && $output == "equal: libpython3.11-dev 3.11" ]]
	changed_copy lang_python.c '[.]first = 72' '.first = 68'
	run "$BATS_TEST_TMPDIR/scripts/offsets-python" "$BATS_FILE_TMPDIR/libpython3.11-dev"
	echo "$output"
	[[ $status == 1 && $output == *"3.11; first is 72, not 68, "* ]]
}

@test "offsets: without headers they say so" {
	mkdir "$BATS_TEST_TMPDIR/empty"
	run "$ROOT/scripts/offsets-php" "$BATS_TEST_TMPDIR/empty"
	[[ $status == 77 && $output == "no headers: empty" ]]
}
