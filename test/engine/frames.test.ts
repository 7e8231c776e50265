/**
 * How deep hooks run: at most eight frames of `src/` lie under a hook, at every stage, and their number does not grow with
 * filters, fields or passes.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Mta from "../support/rawMta.ts"

const most = 8

/** Frames of the library under the caller. */
const depth = (): number => {
  const before = Error.stackTraceLimit
  Error.stackTraceLimit = Infinity
  const { stack } = new Error()
  Error.stackTraceLimit = before
  return stack!.split("\n").filter((line) => /\/src\/(?!.*\/node_modules\/)/.test(line)).length
}

type Seen = Map<string, Set<number>>

/** Notes the depth at each call; `work` is what the effect then does. */
const noting = (seen: Seen, name: string) => (at: string): void => {
  const key = `${name} ${at}`
  seen.set(key, (seen.get(key) ?? new Set()).add(depth()))
}

const answered = ["connect", "helo", "mail", "rcpt", "data", "header", "endOfHeaders", "body", "unknown"] as const

/** A filter with both states and a hook at every stage, whose effects are done at once, or are not. */
const answering = (seen: Seen, name: string, result: <A>(value: A) => Effect.Effect<A>) => {
  const note = noting(seen, name)
  const hooks = Object.fromEntries(answered.map((stage) => [stage, () => {
    note(stage)
    return result(Verdict.continue)
  }]))
  return Milter.make(name, {
    modifyIfOffered: ["addHeader"],
    connection: () => {
      note("connection state")
      return result(undefined)
    },
    message: () => {
      note("message state")
      return result(undefined)
    }
  }).on({
    ...hooks,
    endOfMessage: (_, { edit }) => {
      note("endOfMessage")
      const add = edit.addHeader
      return add._tag === "None" ? result(Verdict.continue) : Effect.as(add.value("X-Seen", name), Verdict.continue)
    }
  })
}

/** The same, only watching, and without edits. */
const observing = (seen: Seen, name: string) => {
  const note = noting(seen, name)
  const hooks = Object.fromEntries([...answered, "endOfMessage"].map((stage) => [stage, () => {
    note(stage)
    return Effect.void
  }]))
  return Milter.make(name).on({}, hooks)
}

const session = (fields: number) => [
  Mta.connect(),
  Mta.helo(),
  Mta.unknown(),
  Mta.mail(),
  Mta.rcpt(),
  Mta.data,
  ...Array.from({ length: fields }, (_, index) => Mta.header("X-Field", ` ${index}`)),
  Mta.endOfHeaders,
  Mta.body(),
  Mta.body(),
  Mta.endOfMessage("rest")
]

/** Depths by what was called, after two messages of which each packet comes by itself, or all in one read. */
const play = Effect.fnUntraced(function*(
  filter: Milter.Filter<never, never>,
  options: { readonly fields?: number; readonly actions?: number; readonly together?: boolean } = {}
) {
  const server = yield* Mta.serve(filter)
  const mta = yield* server.open({ actions: options.actions ?? 0x1ff })
  // No abort between them, which would interrupt what is still running.
  const packets = [...session(options.fields ?? 2), ...session(options.fields ?? 2).slice(3)]
  yield* options.together === true ? mta.write(...packets) : mta.each(...packets)
  // Hooks that are late take a turn each.
  yield* Effect.repeat(Mta.settle, { times: 20 })
  // TestClock warns on a machine that is slow.
  assert.deepStrictEqual(server.logs, [])
})

const check = (seen: Seen, filters: number, stages: number): void => {
  assert.strictEqual(seen.size, filters * stages, [...seen.keys()].join())
  for (const [at, depths] of seen) {
    for (const depth of depths) assert.isAtMost(depth, most, at)
    // Otherwise the frames of the engine were not seen.
    assert.isAtLeast(Math.min(...depths), 1, at)
  }
}

const isDone = <A>(value: A): Effect.Effect<A> => Effect.succeed(value)
const isLate = <A>(value: A): Effect.Effect<A> => Effect.as(Effect.yieldNow, value)

const passes = (seen: Seen, result: typeof isDone) =>
  Milter.sequence([
    observing(seen, "first"),
    answering(seen, "second", result),
    observing(seen, "third"),
    answering(seen, "fourth", result),
    observing(seen, "fifth")
  ])

describe("under a hook", () => {
  for (const together of [false, true]) {
    const how = together ? "all packets in one read" : "one packet a read"
    for (const [kind, result] of [["at once", isDone], ["later", isLate]] as const) {
      it.effect(`of one filter that answers ${kind}, ${how}: at most ${most} frames`, () =>
        Effect.gen(function*() {
          const seen: Seen = new Map()
          yield* play(answering(seen, "one", result), { together })
          check(seen, 1, answered.length + 3)
        }))

      it.effect(`of five filters in three passes that answer ${kind}, ${how}: as many`, () =>
        Effect.gen(function*() {
          const seen: Seen = new Map()
          yield* play(passes(seen, result), { together })
          assert.isAtMost(Math.max(...[...seen.values()].flatMap((depths) => [...depths])), most)
          check(new Map([...seen].filter(([at]) => /second|fourth/.test(at))), 2, answered.length + 3)
          check(new Map([...seen].filter(([at]) => /first|third|fifth/.test(at))), 3, answered.length + 1)
        }))
    }

    it.effect(`of one that only watches, ${how}: at most ${most} frames`, () =>
      Effect.gen(function*() {
        const seen: Seen = new Map()
        yield* play(observing(seen, "one"), { together })
        check(seen, 1, answered.length + 1)
      }))
  }

  it.effect("1,000 fields lie as deep as two, in the first pass and in later ones", () =>
    Effect.gen(function*() {
      const deepest = Effect.fnUntraced(function*(fields: number) {
        const seen: Seen = new Map()
        yield* play(passes(seen, isDone), { fields, together: true })
        return new Map([...seen].map(([at, depths]) => [at, Math.max(...depths)]))
      })
      assert.deepStrictEqual(yield* deepest(1000), yield* deepest(2))
    }))

  it.effect("after 1,000 fields that nobody in the later pass looks at", () =>
    Effect.gen(function*() {
      const seen: Seen = new Map()
      const note = noting(seen, "last")
      const last = Milter.make("last").on({
        endOfMessage: () => {
          note("endOfMessage")
          return Effect.succeed(Verdict.continue)
        }
      })
      yield* play(Milter.sequence([answering(seen, "first", isDone), answering(seen, "second", isDone), last]), {
        fields: 1000
      })
      assert.isAtMost(Math.max(...seen.get("last endOfMessage")!), most)
    }))
})
