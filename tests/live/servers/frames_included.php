<?php
// SPDX-License-Identifier: MIT

function of_the_included(string $out): void
{
	say_and_wait($out);
}

of_the_included($out);
