/** Keys and names that the library would ignore: each is an error that says what was meant. */
import { assert, describe, it } from "@effect/vitest"
import * as Auth from "effect-milter/auth"
import { InvalidValue } from "effect-milter/InvalidValue"
import * as Message from "effect-milter/Message"
import * as Milter from "effect-milter/Milter"
import * as MilterClient from "effect-milter/MilterClient"
import * as MilterServer from "effect-milter/MilterServer"
import * as MilterTest from "effect-milter/MilterTest"
import { NodeMilterServer } from "effect-milter/node"
import * as Reply from "effect-milter/Reply"
import * as Verdict from "effect-milter/Verdict"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { checkKeys } from "../../src/internal/bytes/knownKeys.ts"
import { answeredStages } from "../../src/internal/protocol/stageTable.ts"

/** As plain JavaScript would call it. */
const untyped = <B>(f: (...args: ReadonlyArray<never>) => B) => f as (...args: ReadonlyArray<unknown>) => B

const hook = () => Effect.succeed(Verdict.continue)
const filter = Milter.make("x").on({})
const on = (answers: object, observes: object = {}) => () => untyped(Milter.make("no-reply").on)(answers, observes)
const make = (options: object) => () => untyped(Milter.make)("no-reply", options)
const document = (options: object, hooks: object = {}) => () =>
  untyped(Message.make("x", options as {}).on)({ document: hook, ...hooks })

/** Where the mistake is found when the value is made. */
const thrown: ReadonlyArray<readonly [string, () => unknown, RegExp]> = [
  [
    "an answered stage",
    on({ recipient: hook }),
    /^Invalid stage of no-reply "recipient": did you mean rcpt\? \(expected connect, helo, .*unknown\)$/
  ],
  ["an observed stage", on({}, { eom: hook }), /"eom": did you mean endOfMessage\?/],
  ["a stage that is only observed", on({ rejectedRecipient: hook }), /Invalid stage of no-reply "rejectedRecipient"/],
  ["a stage in both records", on({ rcpt: hook }, { rcpt: hook }), /expected rcpt to be answered or observed, not both/],
  ["a hook that is none", on({ rcpt: Verdict.continue }), /Invalid filter "no-reply": expected a function at rcpt/],
  [
    "an option of a filter",
    make({ modifyIfOffer: ["addHeader"] }),
    /Invalid option of no-reply "modifyIfOffer": did you mean modifyIfOffered\?/
  ],
  ["an internal field as option", make({ onFailure: hook }), /Invalid option of no-reply "onFailure"/],
  [
    "a modification",
    () => Milter.make("x", { modify: ["addHeaders" as "addHeader"] }).on({}),
    /Invalid modify of x "addHeaders": did you mean addHeader\?/
  ],
  [
    "a modification if offered",
    () => Milter.make("x", { modifyIfOffered: ["quarantaine" as "quarantine"] }).on({}),
    /did you mean quarantine\?/
  ],
  [
    "a stage of macros",
    () => Milter.make("x", { macros: { recipient: ["i"] } as {} }).on({}),
    /Invalid stage in macros of x "recipient": did you mean rcpt\?/
  ],
  [
    "a hook of a document filter",
    document({}, { header: hook }),
    /Invalid hook of x "header": .*expected connect, helo, mail, rcpt, endOfHeaders, document/
  ],
  ["an option of a document filter", document({ maxByte: 1 }), /did you mean maxBytes\?/],
  [
    "a part of a document filter",
    document({ modify: ["header"] }),
    /Invalid modify of x "header": did you mean headers\?/
  ],
  [
    "an option of a circuit breaker",
    () => untyped(Milter.circuitBreaker)(filter, { failure: 1 }),
    /did you mean failures\?/
  ],
  [
    "an option of delayReject",
    () => untyped(Milter.delayReject)(filter, { at: "rcpt", expect: hook }),
    /did you mean except\?/
  ],
  [
    "a key of a condition",
    () => untyped(Milter.when)(filter, { recipient: hook, recipients: "any" }),
    /did you mean rcpt\?/
  ],
  [
    "an option of a remote filter",
    () => untyped(Milter.remote)("clam", { to: "inet:1", modify: [], stage: ["rcpt"] }),
    /Invalid option of clam "stage": did you mean stages\?/
  ],
  [
    "a stage of a remote filter",
    () => untyped(Milter.remote)("clam", { to: "inet:1", modify: [], stages: ["recipient"] }),
    /Invalid stage of clam "recipient": did you mean rcpt\?/
  ],
  [
    "a timeout of a remote filter",
    () => untyped(Milter.remote)("clam", { to: "inet:1", modify: [], timeouts: { commands: 1 } }),
    /did you mean command\?/
  ],
  [
    "a part of a verdict",
    () => untyped(Verdict.reject)({ text: "no", enhance: "5.7.1" }),
    /Invalid part of a reply "enhance": did you mean enhanced\?/
  ],
  [
    "an option of Auth.verify",
    () => untyped(Auth.verify)({ authServId: "mx.example.org" }),
    /did you mean authservId\?/
  ],
  ["an option of Auth.enforceDmarc", () => untyped(Auth.enforceDmarc)({ permerr: "pass" }), /did you mean permerror\?/],
  [
    "an option of Auth.sign",
    () => untyped(Auth.sign)({ field: ["From"] }),
    /Invalid option of Auth.sign "field": did you mean fields\?/
  ],
  [
    "an option of Auth.seal",
    () => untyped(Auth.seal)({ authservId: "mx.example.org", domains: "example.org" }),
    /did you mean domain\?/
  ]
]

const message = { from: "alice@example.org", to: "bob@example.net" }
const server = (options: object) =>
  Layer.build(MilterServer.layer(filter, options).pipe(Layer.provide(MilterTest.layer))).pipe(Effect.scoped)
const dialed = <A, E>(effect: Effect.Effect<A, E, MilterClient.Dialer | Scope.Scope>) =>
  Effect.scoped(Effect.provide(effect, MilterTest.layer))

/** Where it is found when something runs. */
const died: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>, RegExp]> = [
  [
    "an option of a server",
    server({ maxConnection: 1 }),
    /Invalid option of a server "maxConnection": did you mean maxConnections\?/
  ],
  [
    "an option of a listener",
    Effect.scoped(Layer.build(NodeMilterServer.layer({ listen: "inet:0", grup: 1 } as { listen: string }))),
    /Invalid option of a listener "grup": did you mean group\?/
  ],
  [
    "an option of a client",
    dialed(MilterClient.dial("x", { has: 1 } as {})),
    /Invalid option of a client "has": did you mean as\?/
  ],
  [
    "a timeout of a client",
    dialed(MilterClient.dial("x", { timeouts: { totals: 1 } as {} })),
    /did you mean total\?/
  ],
  [
    "an option of a chain",
    dialed(MilterClient.chain([], { observer: 1 } as {})),
    /did you mean observe\?/
  ],
  [
    "an option of a filter of a chain",
    dialed(MilterClient.chain([{ address: "x", onfailure: "reject" } as { address: string }])),
    /did you mean onFailure\?/
  ],
  ["an option of a test", MilterTest.message(filter, message, { ass: 1 } as {}), /did you mean as\?/],
  [
    "a key of a message",
    MilterTest.message(filter, { ...message, header: [] } as typeof message),
    /Invalid key of a message "header": did you mean headers\?/
  ],
  [
    "a key of a recipient",
    MilterTest.message(filter, { ...message, to: { address: "b@c.example", refuse: {} } as { address: string } }),
    /did you mean refused\?/
  ],
  [
    "a stage in macros of a message",
    MilterTest.message(filter, { ...message, macros: { recipient: {} } as {} }),
    /did you mean rcpt\?/
  ],
  [
    "an option of Auth.Dns",
    Effect.scoped(Layer.build(Auth.Dns.layerWith({ server: [] } as {}))),
    /did you mean servers\?/
  ]
]

describe("an unknown key", () => {
  it.each(thrown)("in the place of %s", (_, mistake, error) => {
    assert.throws(mistake, error)
    try {
      mistake()
    } catch (error) {
      assert.instanceOf(error, InvalidValue)
    }
  })

  it.effect.each(died)("in the place of %s", ([, mistake, expected]) =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(mistake)
      assert(Exit.isFailure(exit))
      assert.match(Cause.pretty(exit.cause), expected)
      assert.instanceOf(Cause.squash(exit.cause), InvalidValue)
    }))

  it("of a reply is a failure of render", () => {
    const rendered = Reply.render({ text: "no", codes: "550" } as { text: string }, "5")
    assert(Result.isFailure(rendered))
    assert.match(rendered.failure.message, /did you mean code\?/)
  })
})

describe("what was meant", () => {
  const meant = (key: string): string | undefined => {
    try {
      checkKeys("stage", { [key]: true }, answeredStages)
      return key
    } catch (error) {
      return /did you mean (\w+)\?/.exec(String(error))?.[1]
    }
  }

  it("is found for names of other milter libraries, and for slips", () => {
    const names = {
      recipient: "rcpt",
      recipients: "rcpt",
      envrcpt: "rcpt",
      rcptTo: "rcpt",
      Rcpt: "rcpt",
      rctp: "rcpt",
      mailFrom: "mail",
      ehlo: "helo",
      hello: "helo",
      headers: "header",
      eoh: "endOfHeaders",
      endofheader: "endOfHeaders",
      eom: "endOfMessage",
      endOfmessage: "endOfMessage",
      boddy: "body",
      conect: "connect"
    }
    for (const [name, stage] of Object.entries(names)) assert.strictEqual(meant(name), stage, name)
  })

  it("is not guessed", () => {
    for (const name of ["quit", "abort", "x", "", "to", "a".repeat(100_000)]) assert.isUndefined(meant(name), name)
  })
})
