/** Mail made to cost time: twice as much of it takes twice as long, and others get their turn. */
import { assert, describe, it } from "@effect/vitest"
import * as Auth from "effect-milter/auth"
import type * as Packet from "effect-milter/Packet"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"
import { type Cost, cost, growth } from "../support/load.ts"
import * as Mta from "../support/rawMta.ts"
import { input, recordsOf } from "./support/mail.ts"

type Fields = ReadonlyArray<readonly [name: string, value: string]>

interface Mail {
  /** The domain of the envelope's sender. */
  readonly domain?: string
  readonly fields?: Fields
  readonly body?: string
}

const author: Fields = [["From", " alice@example.org"]]

const sizes = [1, 2, 4] as const

/** What a sender may publish, of each size. */
const published = {
  label: (size: number) => `v=spf1 redirect=x.${"a".repeat(15_000 * size)}_`,
  macros: (size: number) => `v=spf1 ${"exists:%{h}%{s}.example ".repeat(600 * size)}`,
  policy: (size: number) => `v=DMARC1; p=none; ${"rua=mailto:!1!1,".repeat(900 * size)}`
}

const records: Auth.RecordTable = {
  ...Object.fromEntries(sizes.flatMap((size) => [
    [`label${size}.example`, { TXT: [published.label(size)] }],
    [`macros${size}.example`, { TXT: [published.macros(size)] }],
    [`_dmarc.policy${size}.example`, { TXT: [published.policy(size)] }]
  ])),
  ...recordsOf([input("example.org")]),
  "example.org": { TXT: ["v=spf1 ip4:192.0.2.1 -all"] },
  "_dmarc.example.org": { TXT: ["v=DMARC1; p=reject"] }
}

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/** A server with our filter, and how it takes mail: as packets, since the MTA's side is not what is measured. */
const serve = Effect.gen(function*() {
  let results: Auth.Results | undefined
  const server = yield* Mta.serve(
    Auth.verify({
      authservId: "mx.example.net",
      onResult: (found) => {
        results = found
        return Effect.succeed(Verdict.continue)
      }
    })
  )
  const deliver = ({ body = "Hello\r\n", domain = "example.org", fields = [] }: Mail) => {
    const headers = [...author, ...fields].map(([name, value]): Packet.Header => ({
      _tag: "Header",
      name: ByteString.fromText(name),
      value: ByteString.fromText(value)
    }))
    const bytes = Buffer.from(body, "latin1")
    const pieces = Array.from({ length: Math.ceil(bytes.length / 65_535) }, (_, index): Packet.Body => ({
      _tag: "Body",
      bytes: bytes.subarray(index * 65_535, (index + 1) * 65_535)
    }))
    return Effect.gen(function*() {
      results = undefined
      const mta = yield* server.open()
      yield* mta.say(Mta.connect("mail.example.org", "192.0.2.1"), Mta.helo("mail.example.org"))
      yield* mta.say(Mta.mail(`<alice@${domain}>`), Mta.rcpt(), Mta.data)
      yield* mta.write(...headers)
      yield* mta.write(Mta.endOfHeaders)
      while ((yield* mta.replies).length === 0) yield* turn
      for (const piece of pieces) {
        yield* mta.write(piece)
        do yield* turn
        while (!(yield* mta.room))
      }
      yield* mta.write(Mta.endOfMessage())
      while ((yield* mta.replies).length === 0) yield* turn
      yield* mta.end
      assert.isDefined(results)
    })
  }
  return deliver
}).pipe(Effect.provide(Auth.Dns.layerRecords(records)))

const times = <A>(count: number, make: (index: number) => A): ReadonlyArray<A> =>
  Array.from({ length: count }, (_, index) => make(index))

const signed = (tags: string): readonly [string, string] => [
  "DKIM-Signature",
  ` v=1; a=rsa-sha256; d=example.org; s=rsa; bh=AAAA; b=AAAA; ${tags}`
]

const ideographs = (count: number): string => String.fromCodePoint(...times(count, (index) => 0x4e00 + index))

/** Each makes a message of this size, which is doubled twice. */
const attacks: { readonly [what: string]: (size: number) => Mail } = {
  "white space in a signature": (size) => ({ fields: [["DKIM-Signature", ` a${" ".repeat(15_000 * size)}b`]] }),
  "white space in four signatures": (size) => ({
    fields: times(4, () => ["DKIM-Signature", ` a${" ".repeat(15_000 * size)}b`])
  }),
  "runs of white space, each within the limit": (size) => ({
    fields: times(20, () => signed(`h=from; ${`n${" ".repeat(150)};`.repeat(20 * size)}`))
  }),
  "white space in a seal": (size) => ({ fields: [["ARC-Seal", ` i=1; a${" ".repeat(15_000 * size)}b`]] }),
  "a chain of seals": (size) => ({
    fields: times(6 * size, (index): Fields => [
      [
        "ARC-Seal",
        ` i=${index + 1}; a=rsa-sha256; cv=${index === 0 ? "none" : "pass"}; d=x.example; s=s; b=${"A".repeat(3000)}`
      ],
      ["ARC-Message-Signature", ` i=${index + 1}; a=rsa-sha256; d=x.example; s=s; h=from; bh=AAAA; b=AAAA`],
      ["ARC-Authentication-Results", ` i=${index + 1}; x; ${"spf=pass; ".repeat(50)}`]
    ]).flat()
  }),
  "sealed results": (size) => ({
    fields: times(12, (index) => ["ARC-Authentication-Results", ` i=${index + 1}; x${"; a=b;".repeat(100 * size)}`])
  }),
  "Received": (size) => ({ fields: [["Received", ` ${"a ".repeat(7_500 * size)}`]] }),
  "Received that is covered": (size) => ({
    fields: [signed("h=from:received"), ["Received", ` ${"a ".repeat(7_500 * size)}`]]
  }),
  "names of fields": (size) => ({ fields: times(20, () => signed(`h=from${":x".repeat(450 * size)}`)) }),
  "names, each of a field": (size) => ({
    fields: [
      ...times(20, (of) => signed(`h=from${times(90, (index) => `:x${index * 20 + of}`).join("")}`)),
      ...times(900 * size, (index) => [`x${index}`, " 1"] as const)
    ]
  }),
  "bytes that are covered": (size) => ({
    fields: [...times(20, () => signed("h=from:to")), ["To", ` ${"a ".repeat(7_500 * size)}`]]
  }),
  "lines of a field": (size) => ({ fields: [signed("h=from:to"), ["To", " a\n a".repeat(450 * size)]] }),
  "carriage returns": (size) => ({
    fields: [signed("h=from:to"), ["To", ` a${"\r".repeat(15_000 * size)}b`], ["Subject", " x"]]
  }),
  "letters of a domain": (size) => ({ fields: times(20, () => signed(`h=from; d=${ideographs(150 * size)}.example`)) }),
  "an author's domain": (size) => ({ fields: [["From", ` a@${ideographs(1200 * size)}.example`]] }),
  "quotes of an author": (size) => ({ fields: [["From", ` ${"\"".repeat(3500 * size)}<a@example.org>`]] }),
  "parentheses of an author": (size) => ({ fields: [["From", ` ${"(".repeat(3500 * size)}<a@example.org>`]] }),
  "authors": (size) => ({ fields: [["From", ` ${"a@example.org,".repeat(250 * size)}`]] }),
  "groups of authors": (size) => ({ fields: [["From", ` ${"g:a@example.org;".repeat(250 * size)}`]] }),
  "parameters of a type": (size) => ({
    fields: [
      ...times(20, () => signed("h=from:content-type")),
      ["Content-Type", ` multipart/mixed${"; boundary*0*=a%20".repeat(800 * size)}`]
    ]
  }),
  "quotes of a type": (size) => ({
    fields: [
      ...times(20, () => signed("h=from:content-type")),
      ["Content-Type", ` multipart/mixed; boundary="${"\\\"".repeat(7_500 * size)}`]
    ]
  }),
  "results that may be ours": (size) => ({
    fields: [["(", 7_500], ["\"\\", 7_500], ["a ", 7_500], ["=?", 7_500]].map(([text, count]) =>
      ["Authentication-Results", ` ${String(text).repeat(Number(count) * size)}`] as const
    )
  }),
  "lines of white space, hashed in as many ways as may be": (size) => ({
    fields: times(20, (index) => signed(`c=relaxed/relaxed; h=from; l=${index}`)),
    body: " \r\n".repeat(100_000 * size)
  }),
  "a name in a record of SPF": (size) => ({ domain: `label${size}.example` }),
  "macros in a record of SPF": (size) => ({ domain: `macros${size}.example` }),
  "a record of DMARC": (size) => ({ fields: [["From", ` a@policy${size}.example`]] }),
  "lines that end with LF": (size) => ({
    fields: times(20, (index) => signed(`c=relaxed/simple; h=from; l=${index}`)),
    body: "\n".repeat(100_000 * size)
  }),
  "longer and longer lines": (size) => ({
    fields: times(20, (index) => signed(`c=relaxed/relaxed; h=from; l=${index}`)),
    body: `${" a".repeat(30_000 * size)}\r\n`.repeat(24)
  })
}

const ordinary: Mail = {
  fields: [
    signed("c=relaxed/relaxed; h=from:to:subject"),
    ["To", " bob@example.net"],
    ["Subject", " an ordinary message"]
  ],
  body: "A line of an ordinary message, which has some seventy characters or so\r\n".repeat(140_000)
}

describe("mail made to cost time", () => {
  let usual: Cost | undefined
  for (const [what, make] of Object.entries(attacks)) {
    it.live(what, () =>
      Effect.gen(function*() {
        const deliver = yield* serve
        yield* deliver({})
        const { block, cpu } = usual ??= yield* cost(deliver(ordinary))
        const { block: longest, ratio } = yield* growth(
          sizes.map((size) => deliver(make(size))),
          cpu / 10,
          (growth) => growth.ratio <= 2.5 && growth.block <= 10 * block
        )
        assert.isAtMost(ratio, 2.5, "times the processor time for twice the size")
        assert.isAtMost(longest / block, 10, "times the longest block of an ordinary message of 10 MB")
      }))
  }
})
