/** Negotiation: what MTA and filter agree on. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { planOf } from "../src/internal/engine/contentPasses.ts"
import { wantedOf } from "../src/internal/engine/negotiationRequest.ts"
import type { Definitions } from "../src/internal/filter/definition.ts"
import { resolve } from "../src/internal/filter/definition.ts"
import * as Macros from "../src/Macros.ts"
import * as Milter from "../src/Milter.ts"
import { actionOf, type Capability } from "../src/Modification.ts"
import { Action, negotiate, type NegotiationError, type Offer, Step, type Wanted } from "../src/Negotiation.ts"
import * as Packet from "../src/Packet.ts"
import * as Verdict from "../src/Verdict.ts"
import * as names from "./support/names.ts"
import { replySteps } from "./support/randomFilter.ts"

const modern: Offer = { version: 6, actions: 0x1ff, steps: 0x1fffff }
const nothing: Wanted = { actions: 0, optionalActions: 0, steps: 0, macros: {} }

const agreed = (wanted: Partial<Wanted>, offered: Partial<Offer> = {}) =>
  Result.getOrThrow(negotiate({ ...nothing, ...wanted }, { ...modern, ...offered }))

const refused = (wanted: Partial<Wanted>, offered: Partial<Offer> = {}): NegotiationError => {
  const result = negotiate({ ...nothing, ...wanted }, { ...modern, ...offered })
  assert.isTrue(Result.isFailure(result))
  return Result.isFailure(result) ? result.failure : assert.fail("negotiated")
}

/** What MTAs in the field offer. */
const offers = {
  "Sendmail 8.12": { version: 2, actions: 0x1f, steps: 0x7f },
  "Sendmail 8.13": { version: 2, actions: 0x3f, steps: 0x7f },
  "Sendmail 8.14.0": { version: 6, actions: 0xff, steps: 0x1fffff },
  "Sendmail 8.17": modern,
  "Sendmail with 256K": { ...modern, steps: 0x101fffff },
  "Postfix 2.3": { version: 2, actions: 0x3d, steps: 0x7f },
  "Postfix 2.5": { version: 2, actions: 0x13f, steps: 0x7f },
  "Postfix 2.5 with protocol 6": { version: 6, actions: 0x13f, steps: 0x1ff7ff },
  "Postfix 3": modern,
  "Postfix 3 with protocol 2": { version: 2, actions: 0x1ff, steps: 0x7f },
  "Postfix 3 with protocol 3": { version: 3, actions: 0x1ff, steps: 0x17f },
  "Postfix 3 with protocol 4": { version: 4, actions: 0x1ff, steps: 0x37f },
  "Stalwart": { version: 6, actions: 0xff, steps: 0x42 }
}

describe("versions", () => {
  it("the lower one of both is agreed on", () => {
    for (const version of [2, 3, 4, 5, 6]) assert.strictEqual(agreed({}, { version }).version, version)
    for (const version of [7, 8, 0x01000001, 0xffffffff]) assert.strictEqual(agreed({}, { version }).version, 6)
  })

  it("below 2 is refused", () => {
    for (const version of [0, 1]) {
      const error = refused({}, { version })
      assert.deepStrictEqual(error.missing, ["version 2 or later"])
      assert.match(error.message, new RegExp(`offered version ${version}, actions 0x1ff, steps 0x1fffff`))
    }
  })
})

describe("actions", () => {
  it("that are necessary and not offered are an error that names them all", () => {
    const error = refused(
      { actions: Action.replaceBody | Action.changeSender | Action.addHeader },
      { actions: Action.addHeader }
    )
    assert.deepStrictEqual(error.missing, ["replaceBody", "changeSender"])
    assert.strictEqual(error._tag, "NegotiationError")
    assert.match(error.message, /replaceBody, changeSender/)
    assert.deepStrictEqual(refused({ actions: Action.quarantine }, { version: 1, actions: 0 }).missing, [
      "version 2 or later",
      "quarantine"
    ])
  })

  it("that are optional are masked with the offer", () => {
    const wanted = { actions: Action.addHeader, optionalActions: Action.quarantine | Action.changeSender }
    assert.strictEqual(agreed(wanted).actions, 0x61)
    assert.strictEqual(agreed(wanted, { actions: 0x3f }).actions, 0x21)
    assert.strictEqual(agreed(wanted, { actions: 0x01 }).actions, 0x01)
  })

  it("are not requested unless wanted", () => {
    assert.strictEqual(agreed({}).actions, 0)
  })
})

describe("steps", () => {
  it("are masked with the offer, whatever else it contains", () => {
    const wanted = { steps: Step.noBody | Step.noReplyHeader | Step.skip | Step.leadingSpace }
    assert.strictEqual(agreed(wanted).steps, wanted.steps)
    assert.strictEqual(agreed(wanted, { steps: 0x7f }).steps, Step.noBody)
    assert.strictEqual(agreed(wanted, { steps: 0 }).steps, 0)
    // Neither the sizes of Sendmail nor its test bit come back.
    assert.strictEqual(agreed(wanted, { steps: 0xffffffff }).steps, wanted.steps)
  })
})

describe("macro lists", () => {
  const lists = (macros: Wanted["macros"], offered: Partial<Offer> = {}) =>
    agreed({ macros }, offered).macros.map(({ names, stage }) => `${stage} ${names}`)

  it("go out with their action, names in braces", () => {
    const { actions, macros } = agreed({ macros: { connect: ["j", "client_ptr"], rcpt: ["{rcpt_addr}", "{i}"] } })
    assert.strictEqual(actions, Action.setMacroLists)
    assert.deepStrictEqual(macros.map(({ names, stage }) => [stage, names as string]), [
      [0, "j {client_ptr}"],
      [3, "{rcpt_addr} i"]
    ])
  })

  it("go out only if they were offered: to Postfix 2.3 the extra bytes are an error", () => {
    const { actions, macros } = agreed({ macros: { connect: ["j"] } }, { actions: 0xff })
    assert.strictEqual(actions, 0)
    assert.deepStrictEqual(macros, [])
  })

  it("are never empty: Postfix would send its own selection, Sendmail none", () => {
    assert.deepStrictEqual(lists({ connect: [], helo: ["cipher"], mail: [] }), ["1 {cipher}"])
    assert.deepStrictEqual(lists({ endOfMessage: [], endOfHeaders: [] }), [])
    assert.strictEqual(agreed({ macros: { connect: [] } }).actions, 0)
  })

  it("for end of headers and end of message go together: Sendmail needs the one to use the other", () => {
    assert.deepStrictEqual(lists({ endOfMessage: ["msg_id"] }), ["6 i", "5 {msg_id}"])
    assert.deepStrictEqual(lists({ endOfHeaders: ["auth_type"] }), ["6 {auth_type}", "5 i {msg_id}"])
    assert.deepStrictEqual(lists({ endOfMessage: ["i"], endOfHeaders: [] }), ["6 i", "5 i"])
    assert.deepStrictEqual(lists({ endOfMessage: ["i"], endOfHeaders: ["j"] }), ["6 j", "5 i"])
    assert.deepStrictEqual(lists({ data: ["i"] }), ["4 i"])
  })

  it("survive the wire", () => {
    const answer = agreed({ macros: { connect: ["j"], endOfMessage: ["msg_id"] } })
    const bytes = Packet.encode({ _tag: "Negotiated", ...answer })
    assert.strictEqual(
      new TextDecoder().decode(bytes.subarray(17)),
      "\0\0\0\0j\0\0\0\0\x06i\0\0\0\0\x05{msg_id}\0"
    )
  })
})

// --- what a filter wants

const capabilities = Object.keys(actionOf) as ReadonlyArray<Capability> // its keys are the capabilities
const FilterPlan = Schema.Struct({
  stages: Schema.Struct(
    Object.fromEntries(names.stages.map((stage) => [stage, Schema.Literals(["absent", "answers", "observes"])])) as {
      readonly [K in (typeof names.stages)[number]]: Schema.Literals<["absent", "answers", "observes"]>
    }
  ),
  modify: Schema.Array(Schema.Literals(capabilities)),
  modifyIfOffered: Schema.Array(Schema.Literals(capabilities)),
  macros: Schema.Struct({
    connect: Schema.optionalKey(Schema.Array(Schema.Literals(["j", "client_addr"]))),
    mail: Schema.optionalKey(Schema.Array(Schema.Literals(["i", "{auth_type}"]))),
    endOfHeaders: Schema.optionalKey(Schema.Array(Schema.Literals(["i"]))),
    endOfMessage: Schema.optionalKey(Schema.Array(Schema.Literals(["i", "msg_id"])))
  }),
  rejectedRecipients: Schema.Boolean,
  refuseConnection: Schema.Boolean,
  connection: Schema.Boolean,
  message: Schema.Boolean
})
type FilterPlan = typeof FilterPlan.Type

const u32 = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffffffff }))
const AnyOffer = Schema.Union([
  Schema.Literals(Object.keys(offers) as ReadonlyArray<keyof typeof offers>),
  Schema.Struct({ version: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 8 })), actions: u32, steps: u32 })
])

const wantedBy = (definitions: Definitions) => wantedOf(definitions, planOf(definitions, 0x1ff))

const definitionsOf = (plan: FilterPlan): Definitions => {
  const { connection, message, stages, ...options } = plan
  const pick = (what: string, hook: () => Effect.Effect<unknown>) =>
    Object.fromEntries(names.stages.filter((stage) => stages[stage] === what).map((stage) => [stage, hook]))
  const filter = Milter.make("test", {
    ...options,
    ...connection ? { connection: () => Effect.void } : {},
    ...message ? { message: () => Effect.void } : {}
  }).on(pick("answers", () => Effect.succeed(Verdict.continue)), pick("observes", () => Effect.void))
  // A filter that was made here resolves without a context.
  return Effect.runSync(resolve(filter) as Effect.Effect<Definitions>)
}

const no: { readonly [stage: string]: number } = {
  connect: Step.noConnect,
  helo: Step.noHelo,
  mail: Step.noMail,
  rcpt: Step.noRcpt,
  data: Step.noData,
  header: Step.noHeaders,
  endOfHeaders: Step.noEndOfHeaders,
  body: Step.noBody,
  unknown: Step.noUnknown,
  endOfMessage: 0
}

describe("what a filter wants", () => {
  const stepsOf = (filter: Milter.Filter<never, never>): number =>
    wantedBy(Effect.runSync(resolve(filter) as Effect.Effect<Definitions>)).steps
  const always = Step.skip | Step.leadingSpace
  const idle = always | Step.noData | Step.noHeaders | Step.noEndOfHeaders | Step.noBody | Step.noUnknown |
    Step.noReplyConnect | Step.noReplyHelo | Step.noReplyRcpt
  const goOn = () => Effect.succeed(Verdict.continue)

  it("is no more than it looks at, but always client, HELO name and recipients, and to answer MAIL", () => {
    assert.strictEqual(stepsOf(Milter.make("x").on({})), idle)
    assert.strictEqual(stepsOf(Milter.make("x").on({ mail: goOn })), idle)
    assert.strictEqual(stepsOf(Milter.make("x").on({ endOfMessage: goOn })), idle)
    assert.strictEqual(stepsOf(Milter.make("x").on({ rcpt: goOn })), idle & ~Step.noReplyRcpt)
    assert.strictEqual(stepsOf(Milter.make("x").on({ body: goOn })), idle & ~Step.noBody)
    assert.strictEqual(
      stepsOf(Milter.make("x").on({}, { body: () => Effect.void })),
      (idle & ~Step.noBody) | Step.noReplyBody
    )
  })

  it("refuseConnection needs the answers that can refuse", () => {
    const refuseConnection = true
    const connection = () => Effect.void
    const steps = (options: { readonly refuseConnection: true; readonly connection?: () => Effect.Effect<void> }) =>
      stepsOf(Milter.make("x", options).on({})) & (Step.noReplyConnect | Step.noReplyHelo)
    assert.strictEqual(steps({ refuseConnection }), Step.noReplyConnect | Step.noReplyHelo)
    assert.strictEqual(steps({ refuseConnection, connection }), Step.noReplyHelo)
    const watching = Milter.make("x", { refuseConnection }).on({}, {
      connect: () => Effect.void,
      helo: () => Effect.void
    })
    assert.strictEqual(stepsOf(watching) & (Step.noReplyConnect | Step.noReplyHelo), 0)
  })

  it("rejected recipients only if it says so", () => {
    assert.strictEqual(
      stepsOf(Milter.make("x", { rejectedRecipients: true }).on({})),
      idle | Step.rejectedRecipients
    )
  })

  it.prop("any filter, any offer: nothing that was not offered, and nothing that is needed goes missing", [
    FilterPlan,
    AnyOffer
  ], ([plan, named]) => {
    const offered = typeof named === "string" ? offers[named] : named
    const wanted = wantedBy(definitionsOf(plan))
    const result = negotiate(wanted, offered)
    const needed = plan.modify.reduce((all, capability) => all | actionOf[capability], 0)
    if (offered.version < 2 || (needed & ~offered.actions) !== 0) {
      assert.isTrue(Result.isFailure(result))
      return
    }
    const { actions, macros, steps, version } = Result.getOrThrow(result)
    assert.strictEqual(version, Math.min(6, offered.version))
    assert.strictEqual(actions & ~offered.actions, 0)
    assert.strictEqual((steps & ~offered.steps) >>> 0, 0)
    assert.isTrue(steps >= 0 && steps <= 0x1fffff && actions <= 0x1ff)
    assert.strictEqual(actions & needed, needed)
    for (const capability of plan.modifyIfOffered) {
      assert.strictEqual(actions & actionOf[capability], offered.actions & actionOf[capability])
    }
    for (const stage of names.stages) {
      if (plan.stages[stage] !== "absent") assert.strictEqual(steps & no[stage]!, 0, `${stage} is received`)
      if (plan.stages[stage] === "answers") assert.strictEqual(steps & replySteps[stage], 0, `${stage} is answered`)
    }
    assert.strictEqual(steps & (Step.noConnect | Step.noHelo | Step.noMail | Step.noRcpt | Step.noReplyMail), 0)
    assert.strictEqual(
      steps & Step.rejectedRecipients,
      plan.rejectedRecipients ? offered.steps & Step.rejectedRecipients : 0
    )
    assert.strictEqual(steps & Step.skip, offered.steps & Step.skip)
    assert.strictEqual(steps & Step.leadingSpace, offered.steps & Step.leadingSpace)
    if ((offered.actions & Action.setMacroLists) === 0) assert.strictEqual(macros.length, 0)
    assert.strictEqual((actions & Action.setMacroLists) !== 0, macros.length > 0)
    const stages = macros.map(({ stage }) => stage)
    assert.strictEqual(
      stages.includes(Macros.stageNumber.endOfMessage),
      stages.includes(Macros.stageNumber.endOfHeaders)
    )
    assert.isTrue(macros.every(({ names }) => names.length > 0))
    // It is a packet that MTAs can read.
    assert.strictEqual(Packet.encode({ _tag: "Negotiated", version, actions, steps, macros })[4], 0x4f)
  }, { arbitrary: { runs: 300 } })
})
