permessage-deflate (RFC 7692 6 and 7.2): compressed messages, their ends and their limits.

=== a compressed text message
    RFC 7692 7.2.2
    text "Hello"
    with deflate
c1 deflate "Hello"

=== the example of the RFC
    RFC 7692 7.2.3.1
    text "Hello"
    with deflate
c1 hex f248cdc9c90700

=== the example of the RFC in two fragments
    RFC 7692 7.2.3.1
    text "Hello"
    with deflate
41 hex f248cd
80 hex c9c90700

=== two messages that share a window
    RFC 7692 7.2.3.2
    text "Hello"
    text "Hello"
    with deflate
c1 hex f248cdc9c90700
c1 hex f200110000

=== a block without compression
    RFC 7692 7.2.3.3
    text "Hello"
    with deflate
c1 hex 000500faff48656c6c6f00

=== a block that says it is the last (BFINAL)
    RFC 7692 7.2.3.4
    text "Hello"
    with deflate
c1 hex f348cdc9c9070000

=== messages behind one with BFINAL
    RFC 7692 7.2.3.4
    text "Hello"
    text "World"
    with deflate
c1 hex f348cdc9c9070000
c1 deflate "World"

=== BFINAL without the octet behind it
    RFC 7692 7.2.3.4
    text "Hello"
    text "World"
    with deflate
c1 hex f348cdc9c90700
c1 deflate "World"

=== BFINAL in the middle of a message
    RFC 7692 7.2.3.4
    text "HelloHello"
    with deflate
c1 hex f348cdc9c90700f248cdc9c90700

=== two blocks in one message
    RFC 7692 7.2.3.5
    text "Hello"
    with deflate
c1 hex f248050000 00ffffcac9c90700

=== an empty compressed message
    RFC 7692 7.2.3.6
    text ""
    with deflate
c1 hex 00

=== another empty compressed message
    RFC 7692 7.2.3.6
    bytes ""
    with deflate
c2 hex 0200

=== a compressed binary message
    RFC 7692 7.2.2
    bytes "\{300*ab\x00}"
    with deflate
c2 deflate "\{300*ab\x00}"

=== an uncompressed message between compressed ones
    RFC 7692 6
    text "Hello"
    text "plain"
    text "Hello"
    with deflate
c1 hex f248cdc9c90700
81 "plain"
c1 hex f200110000

=== a compressed message in many fragments
    RFC 7692 6.1
    text "Hello"
    with deflate
41 hex f2
00 hex 48
00 ""
00 hex cdc9
80 hex c90700

=== a Ping within a compressed message
    RFC 7692 6.1
    ping "p"
    text "Hello"
    with deflate
41 hex f248
89 "p"
80 hex cdc9c90700

=== a compressed first fragment, and an empty last one
    RFC 7692 7.2.3
    text "Hello"
    with deflate
41 hex f248cdc9c90700
80 ""

=== a compressed message at the limit
    RFC 7692 8
    bytes "\{1000*z}"
    with deflate
c2 deflate "\{1000*z}"

=== a compressed message over the limit when inflated
    RFC 7692 8
    fail 1009 inflated
    with deflate
c2 deflate "\{1001*z}"

=== a compressed message far over the limit
    RFC 7692 8
    fail 1009 inflated
    with deflate
c2 deflate "\{300000*z}"

=== RSV1 on a continuation of a compressed message
    RFC 7692 6
    fail 1002 RSV1
    with deflate
41 hex f248
c0 hex cdc9c90700

=== RSV1 on a continuation of an uncompressed message
    RFC 7692 6
    fail 1002 RSV1
    with deflate
01 "a"
c0 hex cdc9c90700

=== RSV1 on a Close, although compression is agreed on
    RFC 7692 6
    fail 1002 RSV1
    with deflate
c8 ""

=== RSV1 on a Ping, although compression is agreed on
    RFC 7692 6
    fail 1002 RSV1
    with deflate
c9 ""

=== RSV1 on a Pong, although compression is agreed on
    RFC 7692 6
    fail 1002 RSV1
    with deflate
ca ""

=== RSV2 although compression is agreed on
    RFC 7692 6
    fail 1002 reserved
    with deflate
a1 ""

=== octets that are not DEFLATE
    RFC 7692 7.2.2
    fail 1007 inflated
    with deflate
c1 hex ffffffff

=== a block of the reserved kind
    RFC 7692 7.2.2
    fail 1007 inflated
    with deflate
c1 hex 07

=== a reference behind the beginning
    RFC 7692 7.2.2
    fail 1007 inflated
    with deflate
c1 hex f20011000000

=== compressed text that is not UTF-8
    RFC 6455 8.1
    fail 1007 UTF-8
    with deflate
c1 deflate "\xff"

=== compressed text that ends within a character
    RFC 6455 8.1
    fail 1007 UTF-8
    with deflate
c1 deflate "\xe2\x82"

=== compressed text whose characters are cut by fragments
    RFC 7692 6.1
    text "\xe2\x82\xac"
    with deflate
41 hex 0003
00 hex 00fcffe2
80 hex 82ac00

=== a compressed message that was not agreed on
    RFC 7692 5.1
    fail 1002 RSV1
c1 deflate "Hello"
