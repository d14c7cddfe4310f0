Single frames: masks, lengths, opcodes, reserved bits (RFC 6455 5.1 to 5.3), and the limit of a message.

=== a text message
    RFC 6455 5.6
    text "Hello"
81 "Hello"

=== the masked example of the RFC
    RFC 6455 5.7
    text "Hello"
raw 81 85 37 fa 21 3d 7f 9f 4d 51 58

=== a binary message
    RFC 6455 5.6
    bytes "\x00\xff\x80"
82 "\x00\xff\x80"

=== an empty text message
    RFC 6455 5.6
    text ""
81 ""

=== an empty binary message
    RFC 6455 5.6
    bytes ""
82 ""

=== a mask of zeroes
    RFC 6455 5.3
    text "Hello"
81 key=00000000 "Hello"

=== a mask of ones
    RFC 6455 5.3
    bytes "\x00\x01\x02\x03\x04"
82 key=ffffffff "\x00\x01\x02\x03\x04"

=== 1 octets, in a length of 7 bits
    RFC 6455 5.2
    bytes "\{1*z}"
82 "\{1*z}"

=== 2 octets, in a length of 7 bits
    RFC 6455 5.2
    bytes "\{2*z}"
82 "\{2*z}"

=== 3 octets, in a length of 7 bits
    RFC 6455 5.2
    bytes "\{3*z}"
82 "\{3*z}"

=== 4 octets, in a length of 7 bits
    RFC 6455 5.2
    bytes "\{4*z}"
82 "\{4*z}"

=== 5 octets, in a length of 7 bits
    RFC 6455 5.2
    bytes "\{5*z}"
82 "\{5*z}"

=== 124 octets, in a length of 7 bits
    RFC 6455 5.2
    bytes "\{124*z}"
82 "\{124*z}"

=== 125 octets, in a length of 7 bits
    RFC 6455 5.2
    bytes "\{125*z}"
82 "\{125*z}"

=== 126 octets, in a length of 16 bits
    RFC 6455 5.2
    bytes "\{126*y}"
82 "\{126*y}"

=== 127 octets, in a length of 16 bits
    RFC 6455 5.2
    bytes "\{127*y}"
82 "\{127*y}"

=== 128 octets, in a length of 16 bits
    RFC 6455 5.2
    bytes "\{128*y}"
82 "\{128*y}"

=== 399 octets, in a length of 16 bits
    RFC 6455 5.2
    bytes "\{399*y}"
82 "\{399*y}"

=== 400 octets, in a length of 16 bits
    RFC 6455 5.2
    bytes "\{400*y}"
82 "\{400*y}"

=== 401 octets, in a length of 16 bits
    RFC 6455 5.2
    bytes "\{401*y}"
82 "\{401*y}"

=== 402 octets, in a length of 16 bits
    RFC 6455 5.2
    bytes "\{402*y}"
82 "\{402*y}"

=== 403 octets, in a length of 16 bits
    RFC 6455 5.2
    bytes "\{403*y}"
82 "\{403*y}"

=== 999 octets, in a length of 16 bits
    RFC 6455 5.2
    bytes "\{999*y}"
82 "\{999*y}"

=== 1000 octets, in a length of 16 bits
    RFC 6455 5.2
    bytes "\{1000*y}"
82 "\{1000*y}"

=== three messages, one behind another
    RFC 6455 5.4
    text "a"
    bytes "b"
    text ""
81 "a"
82 "b"
81 ""

=== a frame of which only the first octet has come
    RFC 6455 5.2
    ...
raw 81

=== a frame without its mask
    RFC 6455 5.2
    ...
raw 81 85

=== a frame with half of its mask
    RFC 6455 5.2
    ...
raw 81 85 37 fa

=== a frame without its payload
    RFC 6455 5.2
    ...
raw 81 85 37 fa 21 3d

=== a frame whose last octet has not come
    RFC 6455 5.2
    ...
raw 81 85 37 fa 21 3d 7f 9f 4d 51

=== half of a length of 16 bits
    RFC 6455 5.2
    ...
raw 82 fe 01

=== half of a length of 64 bits
    RFC 6455 5.2
    ...
raw 82 ff 00 00 00 00

=== text without a mask
    RFC 6455 5.1
    fail 1002 mask
81 unmasked "\x03\xe8"

=== binary without a mask
    RFC 6455 5.1
    fail 1002 mask
82 unmasked "\x03\xe8"

=== a Close without a mask
    RFC 6455 5.1
    fail 1002 mask
88 unmasked "\x03\xe8"

=== a Ping without a mask
    RFC 6455 5.1
    fail 1002 mask
89 unmasked "\x03\xe8"

=== a Pong without a mask
    RFC 6455 5.1
    fail 1002 mask
8a unmasked "\x03\xe8"

=== a continuation without a mask
    RFC 6455 5.1
    fail 1002 mask
01 "a"
80 unmasked "b"

=== a frame without a mask, judged before its payload has come
    RFC 6455 5.1
    fail 1002 mask
raw 81 05

=== a message that came before a frame without a mask is kept
    RFC 6455 5.1
    text "good"
    fail 1002 mask
81 "good"
81 unmasked "bad"

=== the reserved opcode 3
    RFC 6455 5.2
    fail 1002 opcode
83 ""

=== the reserved opcode 3 within a message in fragments
    RFC 6455 5.2
    fail 1002 opcode
01 "a"
83 "b"

=== the reserved opcode 4
    RFC 6455 5.2
    fail 1002 opcode
84 ""

=== the reserved opcode 4 within a message in fragments
    RFC 6455 5.2
    fail 1002 opcode
01 "a"
84 "b"

=== the reserved opcode 5
    RFC 6455 5.2
    fail 1002 opcode
85 ""

=== the reserved opcode 5 within a message in fragments
    RFC 6455 5.2
    fail 1002 opcode
01 "a"
85 "b"

=== the reserved opcode 6
    RFC 6455 5.2
    fail 1002 opcode
86 ""

=== the reserved opcode 6 within a message in fragments
    RFC 6455 5.2
    fail 1002 opcode
01 "a"
86 "b"

=== the reserved opcode 7
    RFC 6455 5.2
    fail 1002 opcode
87 ""

=== the reserved opcode 7 within a message in fragments
    RFC 6455 5.2
    fail 1002 opcode
01 "a"
87 "b"

=== the reserved opcode B
    RFC 6455 5.2
    fail 1002 opcode
8b ""

=== the reserved opcode B within a message in fragments
    RFC 6455 5.2
    fail 1002 opcode
01 "a"
8b "b"

=== the reserved opcode C
    RFC 6455 5.2
    fail 1002 opcode
8c ""

=== the reserved opcode C within a message in fragments
    RFC 6455 5.2
    fail 1002 opcode
01 "a"
8c "b"

=== the reserved opcode D
    RFC 6455 5.2
    fail 1002 opcode
8d ""

=== the reserved opcode D within a message in fragments
    RFC 6455 5.2
    fail 1002 opcode
01 "a"
8d "b"

=== the reserved opcode E
    RFC 6455 5.2
    fail 1002 opcode
8e ""

=== the reserved opcode E within a message in fragments
    RFC 6455 5.2
    fail 1002 opcode
01 "a"
8e "b"

=== the reserved opcode F
    RFC 6455 5.2
    fail 1002 opcode
8f ""

=== the reserved opcode F within a message in fragments
    RFC 6455 5.2
    fail 1002 opcode
01 "a"
8f "b"

=== RSV1 on a continuation
    RFC 6455 5.2
    fail 1002 RSV1
01 "a"
c0 ""

=== RSV1 on text
    RFC 6455 5.2
    fail 1002 RSV1
c1 ""

=== RSV1 on binary
    RFC 6455 5.2
    fail 1002 RSV1
c2 ""

=== RSV1 on a Close
    RFC 6455 5.2
    fail 1002 RSV1
c8 ""

=== RSV1 on a Ping
    RFC 6455 5.2
    fail 1002 RSV1
c9 ""

=== RSV1 on a Pong
    RFC 6455 5.2
    fail 1002 RSV1
ca ""

=== RSV2 on a continuation
    RFC 6455 5.2
    fail 1002 reserved
01 "a"
a0 ""

=== RSV2 on text
    RFC 6455 5.2
    fail 1002 reserved
a1 ""

=== RSV2 on binary
    RFC 6455 5.2
    fail 1002 reserved
a2 ""

=== RSV2 on a Close
    RFC 6455 5.2
    fail 1002 reserved
a8 ""

=== RSV2 on a Ping
    RFC 6455 5.2
    fail 1002 reserved
a9 ""

=== RSV2 on a Pong
    RFC 6455 5.2
    fail 1002 reserved
aa ""

=== RSV3 on a continuation
    RFC 6455 5.2
    fail 1002 reserved
01 "a"
90 ""

=== RSV3 on text
    RFC 6455 5.2
    fail 1002 reserved
91 ""

=== RSV3 on binary
    RFC 6455 5.2
    fail 1002 reserved
92 ""

=== RSV3 on a Close
    RFC 6455 5.2
    fail 1002 reserved
98 ""

=== RSV3 on a Ping
    RFC 6455 5.2
    fail 1002 reserved
99 ""

=== RSV3 on a Pong
    RFC 6455 5.2
    fail 1002 reserved
9a ""

=== all three reserved bits
    RFC 6455 5.2
    fail 1002 reserved
f1 "x"

=== a length of 16 bits for 0 octets
    RFC 6455 5.2
    fail 1002 shortest
82 len16=0 "\{0*x}"

=== a length of 16 bits for 1 octets
    RFC 6455 5.2
    fail 1002 shortest
82 len16=1 "\{1*x}"

=== a length of 16 bits for 5 octets
    RFC 6455 5.2
    fail 1002 shortest
82 len16=5 "\{5*x}"

=== a length of 16 bits for 125 octets
    RFC 6455 5.2
    fail 1002 shortest
82 len16=125 "\{125*x}"

=== a length of 64 bits for 0 octets
    RFC 6455 5.2
    fail 1002 shortest
82 len64=0 "\{0*x}"

=== a length of 64 bits for 125 octets
    RFC 6455 5.2
    fail 1002 shortest
82 len64=125 "\{125*x}"

=== a length of 64 bits for 126 octets
    RFC 6455 5.2
    fail 1002 shortest
82 len64=126 "\{126*x}"

=== a length of 64 bits for 1000 octets
    RFC 6455 5.2
    fail 1002 shortest
82 len64=1000 "\{1000*x}"

=== a length of 64 bits for 65535 octets
    RFC 6455 5.2
    fail 1002 shortest
82 len64=65535 "\{1000*x}"

=== a length of 64 bits whose first is set
    RFC 6455 5.2
    fail 1002 64 bits
raw 82 ff 80 00 00 00 00 01 00 00

=== a length of 64 bits that is all ones
    RFC 6455 5.2
    fail 1002 64 bits
raw 82 ff ff ff ff ff ff ff ff ff

=== one octet over the limit, judged by its announcement
    RFC 6455 7.4.1
    fail 1009 over 1000
raw 82 fe 03 e9

=== an announcement of 2^62 octets
    RFC 6455 7.4.1
    fail 1009 over 1000
raw 82 ff 40 00 00 00 00 00 00 00

=== an announcement of 65536 octets
    RFC 6455 7.4.1
    fail 1009 over 1000
raw 81 ff 00 00 00 00 00 01 00 00

=== fragments that are together over the limit
    RFC 6455 7.4.1
    fail 1009 over 1000
02 "\{600*x}"
80 "\{401*x}"

=== fragments that are together just at the limit
    RFC 6455 5.4
    bytes "\{1000*x}"
02 "\{600*x}"
80 "\{400*x}"

=== the limit counts for each message anew
    RFC 6455 5.4
    bytes "\{1000*x}"
    bytes "\{1000*y}"
82 "\{1000*x}"
82 "\{1000*y}"
