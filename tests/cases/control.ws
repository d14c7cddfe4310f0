Control frames (RFC 6455 5.5) and the codes and reasons of a Close (RFC 6455 7.1 and 7.4).

=== a Ping
    RFC 6455 5.5.2
    ping ""
89 ""

=== a Ping with a payload
    RFC 6455 5.5.2
    ping "\x00 any octets \xff"
89 "\x00 any octets \xff"

=== a Ping of 125 octets
    RFC 6455 5.5
    ping "\{125*p}"
89 "\{125*p}"

=== a Pong nobody asked for
    RFC 6455 5.5.3
    pong "x"
8a "x"

=== many Pings
    RFC 6455 5.5.2
    ping "1"
    ping "2"
    ping "3"
89 "1"
89 "2"
89 "3"

=== a Close of 126 octets
    RFC 6455 5.5
    fail 1002 125
88 "\{126*x}"

=== a Close with a length of 64 bits
    RFC 6455 5.5
    fail 1002 125
88 len64=70000 ""

=== a Close in fragments
    RFC 6455 5.5
    fail 1002 fragments
08 "x"

=== a Close in fragments, within a message
    RFC 6455 5.5
    fail 1002 fragments
01 "a"
08 "x"

=== a Ping of 126 octets
    RFC 6455 5.5
    fail 1002 125
89 "\{126*x}"

=== a Ping with a length of 64 bits
    RFC 6455 5.5
    fail 1002 125
89 len64=70000 ""

=== a Ping in fragments
    RFC 6455 5.5
    fail 1002 fragments
09 "x"

=== a Ping in fragments, within a message
    RFC 6455 5.5
    fail 1002 fragments
01 "a"
09 "x"

=== a Pong of 126 octets
    RFC 6455 5.5
    fail 1002 125
8a "\{126*x}"

=== a Pong with a length of 64 bits
    RFC 6455 5.5
    fail 1002 125
8a len64=70000 ""

=== a Pong in fragments
    RFC 6455 5.5
    fail 1002 fragments
0a "x"

=== a Pong in fragments, within a message
    RFC 6455 5.5
    fail 1002 fragments
01 "a"
0a "x"

=== a Ping over 125 octets is refused before its length has come
    RFC 6455 5.5
    fail 1002 125
raw 89 fe

=== control frames between the fragments of a message
    RFC 6455 5.4
    ping "1"
    pong "2"
    text "Hello"
01 "He"
89 "1"
00 "l"
8a "2"
80 "lo"

=== a Ping whose payload has not come
    RFC 6455 5.5.2
    ...
raw 89 85 37 fa 21 3d 00

=== a Close without a code
    RFC 6455 7.1.5
    close 1005 ""
88 ""

=== a Close with half a code
    RFC 6455 5.5.1
    fail 1002 half
88 "\x03"

=== a Close with 1000
    RFC 6455 7.4
    close 1000 ""
88 hex 03e8

=== a Close with 1001
    RFC 6455 7.4
    close 1001 ""
88 hex 03e9

=== a Close with 1002
    RFC 6455 7.4
    close 1002 ""
88 hex 03ea

=== a Close with 1003
    RFC 6455 7.4
    close 1003 ""
88 hex 03eb

=== a Close with 1007
    RFC 6455 7.4
    close 1007 ""
88 hex 03ef

=== a Close with 1008
    RFC 6455 7.4
    close 1008 ""
88 hex 03f0

=== a Close with 1009
    RFC 6455 7.4
    close 1009 ""
88 hex 03f1

=== a Close with 1010
    RFC 6455 7.4
    close 1010 ""
88 hex 03f2

=== a Close with 1011
    RFC 6455 7.4
    close 1011 ""
88 hex 03f3

=== a Close with 1012
    RFC 6455 7.4
    close 1012 ""
88 hex 03f4

=== a Close with 1013
    RFC 6455 7.4
    close 1013 ""
88 hex 03f5

=== a Close with 1014
    RFC 6455 7.4
    close 1014 ""
88 hex 03f6

=== a Close with 3000
    RFC 6455 7.4
    close 3000 ""
88 hex 0bb8

=== a Close with 3999
    RFC 6455 7.4
    close 3999 ""
88 hex 0f9f

=== a Close with 4000
    RFC 6455 7.4
    close 4000 ""
88 hex 0fa0

=== a Close with 4999
    RFC 6455 7.4
    close 4999 ""
88 hex 1387

=== a Close with 0, which may not be sent
    RFC 6455 7.4
    fail 1002 code 0
88 hex 0000

=== a Close with 1, which may not be sent
    RFC 6455 7.4
    fail 1002 code 1
88 hex 0001

=== a Close with 999, which may not be sent
    RFC 6455 7.4
    fail 1002 code 999
88 hex 03e7

=== a Close with 1004, which may not be sent
    RFC 6455 7.4
    fail 1002 code 1004
88 hex 03ec

=== a Close with 1005, which may not be sent
    RFC 6455 7.4
    fail 1002 code 1005
88 hex 03ed

=== a Close with 1006, which may not be sent
    RFC 6455 7.4
    fail 1002 code 1006
88 hex 03ee

=== a Close with 1015, which may not be sent
    RFC 6455 7.4
    fail 1002 code 1015
88 hex 03f7

=== a Close with 1016, which may not be sent
    RFC 6455 7.4
    fail 1002 code 1016
88 hex 03f8

=== a Close with 1100, which may not be sent
    RFC 6455 7.4
    fail 1002 code 1100
88 hex 044c

=== a Close with 1999, which may not be sent
    RFC 6455 7.4
    fail 1002 code 1999
88 hex 07cf

=== a Close with 2000, which may not be sent
    RFC 6455 7.4
    fail 1002 code 2000
88 hex 07d0

=== a Close with 2999, which may not be sent
    RFC 6455 7.4
    fail 1002 code 2999
88 hex 0bb7

=== a Close with 5000, which may not be sent
    RFC 6455 7.4
    fail 1002 code 5000
88 hex 1388

=== a Close with 65535, which may not be sent
    RFC 6455 7.4
    fail 1002 code 65535
88 hex ffff

=== a Close with a reason
    RFC 6455 5.5.1
    close 1000 "going \xc3\xa4way"
88 "\x03\xe8going \xc3\xa4way"

=== a Close with a reason of 123 octets
    RFC 6455 5.5.1
    close 1000 "\{123*r}"
88 "\x03\xe8\{123*r}"

=== a Close whose reason is not UTF-8
    RFC 6455 8.1
    fail 1007 UTF-8
88 "\x03\xe8\xff"

=== a Close whose reason ends in a character
    RFC 6455 8.1
    fail 1007 UTF-8
88 "\x03\xe8\xe2\x82"

=== a Close whose reason holds a surrogate
    RFC 6455 8.1
    fail 1007 UTF-8
88 "\x03\xe8\xed\xa0\x80"

=== a Close within a message in fragments
    RFC 6455 5.4
    close 1000 ""
01 "half"
88 hex 03e8

=== what follows a Close is not read
    RFC 6455 5.5.1
    close 1001 ""
88 hex 03e9
81 "late"
89 "late"

=== a fault behind a Close is not looked at
    RFC 6455 5.5.1
    close 1001 ""
88 hex 03e9
raw ff 00 00 00

=== a second Close is not read
    RFC 6455 5.5.1
    close 4000 ""
88 hex 0fa0
88 hex 03e8

=== a message and then a Close
    RFC 6455 5.5.1
    text "last"
    close 1000 "bye"
81 "last"
88 "\x03\xe8bye"

=== what follows a fault is not read
    RFC 6455 7.1.7
    fail 1002 opcode
83 ""
81 "late"
