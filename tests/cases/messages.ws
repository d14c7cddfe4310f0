Messages in fragments (RFC 6455 5.4) and text that is UTF-8, or is not (RFC 6455 5.6 and 8.1).

=== a message in two fragments
    RFC 6455 5.4
    text "Hello"
01 "Hel"
80 "lo"

=== a message in three fragments
    RFC 6455 5.4
    bytes "abcdef"
02 "ab"
00 "cd"
80 "ef"

=== a message of empty fragments
    RFC 6455 5.4
    text ""
01 ""
00 ""
80 ""

=== empty fragments around others
    RFC 6455 5.4
    text "ab"
01 ""
00 "a"
00 ""
00 "b"
80 ""

=== each fragment has a key of its own
    RFC 6455 5.3
    text "Hello world"
01 key=01020304 "Hello"
80 key=fffefdfc " world"

=== fragments of odd sizes
    RFC 6455 5.3
    bytes "aaaaabbbbbbbccc"
02 "aaaaa"
00 "bbbbbbb"
80 "ccc"

=== a message behind one in fragments
    RFC 6455 5.4
    text "ab"
    bytes "c"
01 "a"
80 "b"
82 "c"

=== a message in fragments that is not finished
    RFC 6455 5.4
    ...
01 "a"
00 "b"

=== a continuation of nothing
    RFC 6455 5.4
    fail 1002 continuation
80 "x"

=== a continuation of nothing that is not final
    RFC 6455 5.4
    fail 1002 continuation
00 "x"

=== a continuation of a message that is whole
    RFC 6455 5.4
    text "a"
    fail 1002 continuation
81 "a"
80 "b"

=== text within a message in fragments
    RFC 6455 5.4
    fail 1002 within
01 "a"
81 "b"

=== binary within a message in fragments
    RFC 6455 5.4
    fail 1002 within
01 "a"
82 "b"

=== the start of text within a message in fragments
    RFC 6455 5.4
    fail 1002 within
01 "a"
01 "b"

=== the start of binary within a message in fragments
    RFC 6455 5.4
    fail 1002 within
01 "a"
02 "b"

=== text with two octets
    RFC 6455 8.1
    text "a\xc3\xa9b"
81 "a\xc3\xa9b"

=== text with two octets, each octet in a fragment of its own
    RFC 6455 5.6
    text "a\xc3\xa9b"
01 "a"
00 hex c3
00 hex a9
80 "b"

=== text with three octets
    RFC 6455 8.1
    text "a\xe2\x82\xacb"
81 "a\xe2\x82\xacb"

=== text with three octets, each octet in a fragment of its own
    RFC 6455 5.6
    text "a\xe2\x82\xacb"
01 "a"
00 hex e2
00 hex 82
00 hex ac
80 "b"

=== text with four octets
    RFC 6455 8.1
    text "a\xf0\x9f\x98\x81b"
81 "a\xf0\x9f\x98\x81b"

=== text with four octets, each octet in a fragment of its own
    RFC 6455 5.6
    text "a\xf0\x9f\x98\x81b"
01 "a"
00 hex f0
00 hex 9f
00 hex 98
00 hex 81
80 "b"

=== text with the last code point
    RFC 6455 8.1
    text "a\xf4\x8f\xbf\xbfb"
81 "a\xf4\x8f\xbf\xbfb"

=== text with the last code point, each octet in a fragment of its own
    RFC 6455 5.6
    text "a\xf4\x8f\xbf\xbfb"
01 "a"
00 hex f4
00 hex 8f
00 hex bf
00 hex bf
80 "b"

=== text with a NUL
    RFC 6455 8.1
    text "a\x00b"
81 "a\x00b"

=== text with a byte order mark
    RFC 6455 8.1
    text "a\xef\xbb\xbfb"
81 "a\xef\xbb\xbfb"

=== text with a byte order mark, each octet in a fragment of its own
    RFC 6455 5.6
    text "a\xef\xbb\xbfb"
01 "a"
00 hex ef
00 hex bb
00 hex bf
80 "b"

=== text with the last before the surrogates
    RFC 6455 8.1
    text "a\xed\x9f\xbfb"
81 "a\xed\x9f\xbfb"

=== text with the last before the surrogates, each octet in a fragment of its own
    RFC 6455 5.6
    text "a\xed\x9f\xbfb"
01 "a"
00 hex ed
00 hex 9f
00 hex bf
80 "b"

=== text with the first behind the surrogates
    RFC 6455 8.1
    text "a\xee\x80\x80b"
81 "a\xee\x80\x80b"

=== text with the first behind the surrogates, each octet in a fragment of its own
    RFC 6455 5.6
    text "a\xee\x80\x80b"
01 "a"
00 hex ee
00 hex 80
00 hex 80
80 "b"

=== text with a noncharacter
    RFC 6455 8.1
    text "a\xef\xbf\xbeb"
81 "a\xef\xbf\xbeb"

=== text with a noncharacter, each octet in a fragment of its own
    RFC 6455 5.6
    text "a\xef\xbf\xbeb"
01 "a"
00 hex ef
00 hex bf
00 hex be
80 "b"

=== text with a stray continuation octet
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 80 62

=== text with a stray continuation octet, in a first fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex 61 80 62

=== text with an overlong slash
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 c0af 62

=== text with an overlong slash, in a first fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex 61 c0af 62

=== text with an overlong NUL
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 c080 62

=== text with an overlong NUL, in a first fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex 61 c080 62

=== text with an octet C1
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 c1bf 62

=== text with an octet C1, in a first fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex 61 c1bf 62

=== text with an overlong form of three octets
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 e0809f 62

=== text with an overlong form of three octets, in a first fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex 61 e0809f 62

=== text with an overlong form of four octets
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 f0808080 62

=== text with an overlong form of four octets, in a first fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex 61 f0808080 62

=== text with the first surrogate
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 eda080 62

=== text with the first surrogate, in a first fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex 61 eda080 62

=== text with the last surrogate
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 edbfbf 62

=== text with the last surrogate, in a first fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex 61 edbfbf 62

=== text with a code point above the last
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 f4908080 62

=== text with a code point above the last, in a first fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex 61 f4908080 62

=== text with an octet F5
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 f5808080 62

=== text with an octet F5, in a first fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex 61 f5808080 62

=== text with an octet FF
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 ff 62

=== text with an octet FF, in a first fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex 61 ff 62

=== text with an octet FE
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 fe 62

=== text with an octet FE, in a first fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex 61 fe 62

=== text with a form of five octets
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 f888808080 62

=== text with a form of five octets, in a first fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex 61 f888808080 62

=== text with a sequence that is cut by another letter
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 e28261 62

=== text with a sequence that is cut by another letter, in a first fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex 61 e28261 62

=== text with a pair of surrogates
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 eda081edb080 62

=== text with a pair of surrogates, in a first fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex 61 eda081edb080 62

=== text that ends within a character
    RFC 6455 8.1
    fail 1007 UTF-8
81 hex 61 e2 82

=== text in fragments that ends within a character
    RFC 6455 8.1
    fail 1007 UTF-8
01 "a"
80 hex e2 82

=== text that ends within a character, before an empty last fragment
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex e2 82
80 ""

=== a wrong octet fails before the rest of its frame has come
    RFC 6455 8.1
    fail 1007 UTF-8
raw 81 fe 01 f4 00 00 00 00 61 ff 61

=== a wrong octet fails before its message is whole
    RFC 6455 8.1
    fail 1007 UTF-8
01 hex ff
00 "more"

=== octets that are no text are a fine binary message
    RFC 6455 5.6
    bytes "\xff\xfe\x80"
82 "\xff\xfe\x80"

=== a character whose rest comes behind a Ping
    RFC 6455 5.4
    ping ""
    text "\xe2\x82\xac"
01 hex e2
89 ""
80 hex 82 ac
