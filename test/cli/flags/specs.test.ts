/** Values of the program's flags. */
import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import { macrosByStage, parseClient, parseMacro } from "../../../src/cli/flags/specs.ts"
import { addressesIn } from "../../../src/cli/messages/addresses.ts"
import * as RawMessage from "../../../src/RawMessage.ts"

describe("--client", () => {
  it.each([
    ["client.example.org[192.0.2.1]", { hostname: "client.example.org", address: "192.0.2.1" }],
    ["client.example.org[2001:db8::1]:2525", { hostname: "client.example.org", address: "2001:db8::1", port: 2525 }],
    ["[192.0.2.1]", { address: "192.0.2.1" }],
    ["192.0.2.1", { address: "192.0.2.1" }],
    ["::1", { address: "::1" }],
    ["/run/x", { address: "/run/x" }],
    ["client.example.org", { hostname: "client.example.org" }]
  ])("%s", (text, client) => {
    assert.deepStrictEqual(Option.getOrUndefined(parseClient(text)), client)
  })

  it.each(["", "a b", "name[", "name[]", "[1.2.3.4]x", "a]b["])("not %j", (text) => {
    assert.isTrue(Option.isNone(parseClient(text)))
  })
})

describe("--macro", () => {
  it("takes names with and without braces, and any value", () => {
    assert.deepStrictEqual(Option.getOrUndefined(parseMacro("i=ABC")), ["i", "ABC"])
    assert.deepStrictEqual(Option.getOrUndefined(parseMacro("{auth_authen}=a=b c")), ["auth_authen", "a=b c"])
    for (const text of ["i", "=x", "{}=x", "a b=c"]) assert.isTrue(Option.isNone(parseMacro(text)), text)
  })

  it("sends each at the stage at which an MTA has it", () => {
    assert.deepStrictEqual(macrosByStage([["auth_authen", "alice"], ["tls_version", "TLSv1.3"], ["own", "x"]]), {
      mail: { "{auth_authen}": "alice" },
      helo: { "{tls_version}": "TLSv1.3" },
      connect: { "{own}": "x" }
    })
    assert.deepStrictEqual(macrosByStage([["i", "Q"]]).endOfMessage, { i: "Q" })
  })
})

describe("addressesIn", () => {
  const of = (to: string) => addressesIn(RawMessage.parse(new TextEncoder().encode(`To: ${to}\n\n`)), "to")

  it.each([
    ["bob@example.net", ["bob@example.net"]],
    ["Bob <bob@example.net>, carol@example.net", ["bob@example.net", "carol@example.net"]],
    ["\"Bob, <the> <one>\" <bob@example.net>", ["bob@example.net"]],
    ["bob@example.net (at <home>, or here)", ["bob@example.net"]],
    ["friends: bob@example.net,\n carol@example.net;", ["bob@example.net", "carol@example.net"]],
    ["undisclosed recipients:;", []],
    ["\"a,b\"@example.net", ["\"a,b\"@example.net"]],
    ["root", ["root"]],
    ["alice@[IPv6:2001:db8::1]", ["alice@[IPv6:2001:db8::1]"]],
    ["Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example", ["mary@example.net", "jdoe@test.example"]],
    ["<\"b b\"@example.net>", ["\"b b\"@example.net"]]
  ])("%j", (to, addresses) => {
    assert.deepStrictEqual(of(to), addresses)
  })
})
