#!/bin/sh
# A slow CGI program: a second, or what the query says.
sleep "${QUERY_STRING:-1}"
printf 'Content-Type: text/plain\r\n\r\n%s\n' "$$"
