/** Ways to write the name `mx.example.net` at the beginning of Authentication-Results. */
export const id = "mx.example.net"

/** By the grammar of RFC 8601: a token or a quoted string, with comments and folds around it, and a version. */
export const valid: ReadonlyArray<string> = [
  "mx.example.net",
  " mx.example.net ",
  "MX.Example.NET",
  "\"mx.example.net\"",
  "\"m\\x.example.net\"",
  "(c) mx.example.net (d) 1",
  "(a (nested \\) comment)) mx.example.net 1",
  "(a;b)mx.example.net",
  "mx.example.net(c)",
  "\r\n mx.example.net\r\n\t1"
]

/** What some reader takes for it all the same. */
export const forgiven: ReadonlyArray<string> = [
  "mx . example . net",
  "mx.\r\n example.net",
  "mx(c).example.net",
  "mx.(c)example(d).net",
  "m(c)x.example.net",
  "\"mx\".example.net",
  "mx.\"example\".net",
  "\"mx.example\".\"net\"",
  "\"mx\" . (c) \"example.net\"",
  "m\\x.example.net",
  "mx\\.example\\.net",
  "(mx.example.net",
  "(a (b) mx.example.net",
  "\"mx.example.net",
  "\\\"mx.example.net",
  "<mx.example.net>",
  "=?utf-8?q?mx.example.net?=",
  "mx=?utf-8?q?.example?=.net",
  "mx.example.net.",
  "mx.example.net/1",
  "mx.\u200bexample.net",
  "\u00a0mx.example.net",
  "mx.exa\r\n mple.net"
]

/** Those of others. */
export const foreign: ReadonlyArray<string> = [
  "mx2.example.net",
  "mx.example.net.example.org",
  "example.net",
  "a.mx.example.net",
  "mx.example.network",
  "other.example (relayed by mx.example.net)",
  "other.example (sealed; by mx.example.net)",
  "other.example 1",
  "mx-example.net"
]
