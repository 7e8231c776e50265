/** Another milter as a filter: the end of sessions and messages, failures, and time. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import type * as MilterClient from "effect-milter/MilterClient"
import type * as MilterServer from "effect-milter/MilterServer"
import type * as Packet from "effect-milter/Packet"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { dialerOf, dialingKey } from "../../../src/internal/net/dialer.ts"
import { Dialer } from "../../../src/MilterClient.ts"
import * as Mta from "../../support/rawMta.ts"
import { agreeing, answering, declare, explained, failed, serve, to } from "../../support/remoteFilters.ts"
import * as Scripted from "../../support/scriptedFilter.ts"

const session = [Mta.connect(), Mta.helo()] as const
const envelope = [Mta.mail(), Mta.rcpt()] as const
const tags = (packets: ReadonlyArray<Packet.MtaPacket>) => packets.map(({ _tag }) => _tag)

describe("abort and quit", () => {
  it.effect("after RSET", () =>
    Effect.gen(function*() {
      const { child, server } = yield* serve(agreeing(), explained(declare()))
      const mta = yield* server.open()
      yield* mta.each(...session, ...envelope, Mta.abort, Mta.mail())
      assert.deepStrictEqual(tags(child().packets).slice(3), ["Mail", "Rcpt", "Abort", "Mail"])
    }))

  it.effect("at a second HELO: one for the message, one for the first HELO", () =>
    Effect.gen(function*() {
      const { child, server } = yield* serve(agreeing(), explained(declare()))
      const mta = yield* server.open()
      // As Postfix: HELO, then an abort for each.
      yield* mta.each(...session, ...envelope, Mta.helo("again"), Mta.abort, Mta.abort, Mta.mail())
      assert.deepStrictEqual(tags(child().packets).slice(3), ["Mail", "Rcpt", "Abort", "Helo", "Abort", "Mail"])
    }))

  it.effect("after QUIT in the middle of a message", () =>
    Effect.gen(function*() {
      const { child, server } = yield* serve(agreeing(), explained(declare()))
      const mta = yield* server.open()
      yield* mta.each(...session, ...envelope, Mta.quit)
      assert.deepStrictEqual(tags(child().packets).slice(3), ["Mail", "Rcpt", "Abort", "Abort", "Quit"])
      assert.isTrue(child().closed)
    }))

  it.effect("after the MTA has gone", () =>
    Effect.gen(function*() {
      for (const leave of ["end", "reset"] as const) {
        const { child, server } = yield* serve(agreeing(), explained(declare()))
        const mta = yield* server.open()
        yield* mta.each(...session, ...envelope)
        yield* mta[leave]
        assert.deepStrictEqual(tags(child().packets).slice(3), ["Mail", "Rcpt", "Abort", "Abort", "Quit"], leave)
        assert.isTrue(child().closed)
      }
    }))

  it.effect("an answer that is still due is not waited for: the connection closes", () =>
    Effect.gen(function*() {
      const { child, server } = yield* serve(
        agreeing((packet) => packet._tag === "Rcpt" ? [] : undefined),
        explained(declare())
      )
      const mta = yield* server.open()
      yield* mta.each(...session, ...envelope)
      yield* mta.reset
      assert.deepStrictEqual(tags(child().packets).slice(3), ["Mail", "Rcpt"])
      assert.isTrue(child().closed)
      assert.deepStrictEqual(server.logs, [])
    }))

  it.effect("a milter that has refused the SMTP session is left as Postfix leaves it", () =>
    Effect.gen(function*() {
      const { child, server } = yield* serve(answering("Helo", [{ _tag: "Reject" }]), explained(declare()))
      const mta = yield* server.open()
      assert.deepStrictEqual(yield* mta.each(...session, Mta.quit), ["Continue", "Reject", ""])
      assert.deepStrictEqual(tags(child().packets), ["Negotiate", "Connect", "Helo"])
      assert.isTrue(child().closed)
    }))
})

describe("a refusal of the SMTP session", () => {
  it.effect("holds to its end, as with an MTA, though the milter is told no more", () =>
    Effect.gen(function*() {
      for (const command of ["Connect", "Helo"] as const) {
        for (const filter of [declare(), Milter.when(declare(), { helo: () => true })]) {
          const reply: Packet.FilterPacket = { _tag: "ReplyCode", text: ByteString.fromText("554 5.7.1 not you") }
          const { child, server } = yield* serve(answering(command, [reply]), explained(filter))
          const mta = yield* server.open()
          const refused = "ReplyCode text=\"554 5.7.1 not you\""
          const answers = yield* mta.each(
            ...session,
            Mta.helo("again"),
            Mta.mail(),
            Mta.abort,
            Mta.helo("once more"),
            Mta.mail()
          )
          assert.deepStrictEqual([answers[3], answers[6]], [refused, refused], command)
          assert.isFalse(child().packets.some(({ _tag }) => _tag === "Mail"))
        }
      }
    }))

  it.effect("is not given to a recipient that is exempt", () =>
    Effect.gen(function*() {
      const filter = Milter.delayReject(explained(declare()), {
        at: "rcpt",
        except: ({ recipient }) => recipient.localPart === "postmaster"
      })
      for (const command of ["Connect", "Helo", "Mail"] as const) {
        const { server } = yield* serve(answering(command, [{ _tag: "Reject" }]), filter)
        const mta = yield* server.open()
        const answers = yield* mta.each(...session, ...envelope, Mta.rcpt("<postmaster@example.org>"), Mta.data)
        assert.deepStrictEqual(answers, ["Continue", "Continue", "Continue", "Reject", "Continue", "Continue"], command)
      }
    }))
})

describe("failures", () => {
  it.effect("in the middle: the policy answers for the rest of the SMTP session", () =>
    Effect.gen(function*() {
      const { child, dials, server } = yield* serve(
        agreeing((packet, child) => {
          if (packet._tag !== "EndOfHeaders") return undefined
          child.close()
          return []
        }),
        explained(declare())
      )
      const mta = yield* server.open()
      const answers = yield* mta.each(...session, ...Mta.message, ...envelope)
      assert.deepStrictEqual(answers.slice(5), [
        "Continue",
        failed("closed"),
        failed("closed"),
        failed("closed"),
        failed("closed"),
        failed("closed")
      ])
      assert.strictEqual(dials(), 1)
      assert.isTrue(child().closed)
      assert.deepStrictEqual(server.logs.map(({ text }) => text), [
        "RemoteError: child: memory:child, at EndOfHeaders: the connection is closed"
      ])
    }))

  it.effect("with pass, mail goes on without it", () =>
    Effect.gen(function*() {
      const filter = Milter.onFailure(declare(), () => Effect.succeed("pass"))
      const checking = Milter.make("checking").on({ endOfMessage: () => Effect.succeed(Verdict.reject()) })
      const { server } = yield* serve(answering("Mail", [{ _tag: "Skip" }]), Milter.sequence([filter, checking]))
      const mta = yield* server.open()
      const answers = yield* mta.each(...session, ...Mta.message)
      assert.strictEqual(answers.at(-1), "Reject")
    }))

  it.effect("give the stage and the error to the handler", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const filter = Milter.onFailure(declare(), (error, { stage }) => {
        seen.push(`${stage}: ${error._tag} ${error.kind} ${error.filter} ${error.error.reason._tag}`)
        return Effect.succeed(Verdict.tempFail())
      })
      const { server } = yield* serve(
        answering("Rcpt", [{ _tag: "Negotiated", version: 6, actions: 0, steps: 0, macros: [] }]),
        filter
      )
      const mta = yield* server.open()
      yield* mta.each(...session, ...envelope, Mta.rcpt())
      assert.deepStrictEqual(seen, Array.from({ length: 2 }, () => "rcpt: RemoteError protocol child UnexpectedReply"))
    }))

  it.effect("open a circuit, so that a milter that is away is not dialled for each session", () =>
    Effect.gen(function*() {
      const filter = Milter.circuitBreaker(declare(), { failures: 2, openFor: "1 minute", whileOpen: "pass" })
      const { dials, server } = yield* serve(answering("Negotiate", [{ _tag: "Reject" }]), explained(filter))
      const answers: Array<string | undefined> = []
      for (let count = 0; count < 4; count++) {
        const mta = yield* server.open()
        answers.push((yield* mta.each(...session, Mta.mail())).at(-1))
      }
      assert.deepStrictEqual(answers, [failed("protocol"), failed("protocol"), "Accept", "Accept"])
      assert.strictEqual(dials(), 2)
    }))

  it.effect("open a circuit, though the milter can be reached and agrees", () =>
    Effect.gen(function*() {
      for (const command of ["Connect", "Mail", "EndOfMessage"] as const) {
        let closes = true
        const { dials, server } = yield* serve(
          agreeing((packet, child) => {
            if (packet._tag !== command || !closes) return undefined
            child.close()
            return []
          }),
          explained(Milter.circuitBreaker(declare(), { failures: 2, openFor: "1 minute", whileOpen: "pass" }))
        )
        const verdict = Effect.gen(function*() {
          const mta = yield* server.open()
          const answers = yield* mta.each(...session, ...Mta.message)
          yield* mta.each(Mta.quit)
          return answers.find((answer) => answer !== "" && answer !== "Continue") ?? "Continue"
        })
        assert.deepStrictEqual([yield* verdict, yield* verdict], [failed("closed"), failed("closed")], command)
        assert.strictEqual(yield* verdict, "Accept", command)
        // One try, which fails at the same command.
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* verdict, failed("closed"), command)
        assert.strictEqual(yield* verdict, "Accept", command)
        closes = false
        yield* TestClock.adjust("1 minute")
        const before = dials()
        assert.deepStrictEqual([yield* verdict, yield* verdict], ["Continue", "Continue"], command)
        assert.strictEqual(dials(), before + 2, command)
      }
    }))

  it.effect("count once for a circuit, however many hooks they answer", () =>
    Effect.gen(function*() {
      const { dials, server } = yield* serve(
        agreeing((packet, child) => {
          if (packet._tag !== "Rcpt") return undefined
          child.close()
          return []
        }),
        explained(Milter.circuitBreaker(declare(), { failures: 2, openFor: "1 minute", whileOpen: "pass" }))
      )
      const mta = yield* server.open()
      const answers = yield* mta.each(...session, Mta.mail(), Mta.rcpt(), Mta.rcpt(), Mta.rcpt(), Mta.abort, Mta.mail())
      assert.deepStrictEqual(answers.slice(3), [
        ...Array.from({ length: 3 }, () => failed("closed")),
        "",
        failed("closed")
      ])
      const other = yield* server.open()
      yield* other.each(...session, ...envelope)
      assert.strictEqual(dials(), 2)
      const third = yield* server.open()
      assert.strictEqual((yield* third.each(...session, Mta.mail())).at(-1), "Accept")
      assert.strictEqual(dials(), 2)
    }))

  it.effect("in the shadow are logged", () =>
    Effect.gen(function*() {
      const { child, server } = yield* serve(
        answering("Rcpt", [{ _tag: "Progress" }, { _tag: "Discard" }]),
        Milter.shadow(declare())
      )
      const mta = yield* server.open()
      const answers = yield* mta.each(...session, ...Mta.message, Mta.quit)
      assert.deepStrictEqual(new Set(answers), new Set(["", "Continue"]))
      assert.deepStrictEqual(
        server.infos.flatMap(({ annotations, text }) => text.startsWith("shadow") ? [annotations["verdict"]] : []),
        [
          "discardMessage"
        ]
      )
      assert.isTrue(child().closed)
      const away = yield* serve(agreeing(), Milter.shadow(declare({ to: "memory:nobody" })))
      const other = yield* away.server.open()
      yield* other.each(...session, ...Mta.message)
      assert.isTrue(away.server.logs.some(({ text }) => text.startsWith("RemoteError: child: memory:nobody")))
    }))
})

describe("time", () => {
  const silentAt = (command: Packet.MtaPacket["_tag"]) => agreeing((packet) => packet._tag === command ? [] : undefined)

  it.effect("the milter's own ends first, and is its failure", () =>
    Effect.gen(function*() {
      const { server } = yield* serve(silentAt("Mail"), explained(declare({ timeouts: { command: "2 seconds" } })))
      const mta = yield* server.open()
      yield* mta.each(...session, Mta.mail())
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* mta.replies, [failed("timeout")])
      assert.deepStrictEqual(server.logs.map(({ text }) => text), [
        "RemoteError: child: memory:child, at Mail: no answer within 2 s"
      ])
    }))

  it.effect("is one for the connection and the negotiation", () =>
    Effect.gen(function*() {
      const network = yield* Scripted.network({ [to]: silentAt("Negotiate") })
      const slow = Layer.effect(
        Dialer,
        Effect.map(Dialer, ({ [dialingKey]: dialing }) =>
          dialerOf({
            ...dialing,
            dial: (address) => Effect.delay(dialing.dial(address), "5 seconds")
          }))
      ).pipe(Layer.provide(network.dialer))
      const server = yield* Effect.provide(Mta.serve(explained(declare({ timeouts: { connect: "6 seconds" } }))), slow)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect())
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* mta.replies, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* mta.replies, ["Continue"])
      assert.deepStrictEqual(yield* mta.each(Mta.mail()), [failed("timeout")])
      assert.deepStrictEqual(server.logs.map(({ text }) => text), [
        "RemoteError: child: memory:child, at Negotiate: no answer within 6 s"
      ])
    }))

  it.effect("that the server has for a command limits a milter without times of its own", () =>
    Effect.gen(function*() {
      const { server } = yield* serve(silentAt("Rcpt"), explained(declare()))
      const mta = yield* server.open()
      yield* mta.each(...session, ...envelope)
      yield* TestClock.adjust("7 seconds")
      assert.deepStrictEqual(yield* mta.replies, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* mta.replies, [failed("timeout")])
      const patient = yield* serve(silentAt("Rcpt"), explained(declare()), { commandTimeout: "25 seconds" })
      const other = yield* patient.server.open()
      yield* other.each(...session, ...envelope)
      yield* TestClock.adjust("20 seconds")
      patient.child().send({ _tag: "Continue" })
      assert.deepStrictEqual(yield* other.replies, ["Continue"])
    }))

  it.effect("of end of message is shared by all passes", () =>
    Effect.gen(function*() {
      const slow = Milter.make("slow", { modify: ["addHeader"] }).on({
        endOfMessage: (_, { edit }) =>
          Effect.delay(Effect.as(edit.addHeader("X-Slow", "yes"), Verdict.continue), "200 seconds")
      })
      const { server } = yield* serve(silentAt("EndOfMessage"), Milter.sequence([slow, explained(declare())]))
      const mta = yield* server.open()
      yield* mta.each(...session, ...Mta.message)
      yield* TestClock.adjust("200 seconds")
      yield* TestClock.adjust("39 seconds")
      assert.notInclude(yield* mta.replies, failed("timeout"))
      yield* TestClock.adjust("1 second")
      assert.include(yield* mta.replies, failed("timeout"))
    }))

  it.effect("progress of the milter does not stretch the server's", () =>
    Effect.gen(function*() {
      const { child, server } = yield* serve(
        silentAt("EndOfMessage"),
        explained(declare({ timeouts: { endOfMessage: "10 seconds" } }))
      )
      const mta = yield* server.open()
      yield* mta.each(...session, ...Mta.message)
      for (let seconds = 0; seconds < 9; seconds += 3) {
        yield* TestClock.adjust("3 seconds")
        child().send({ _tag: "Progress" })
        yield* Mta.settle
      }
      yield* TestClock.adjust("1 second")
      assert.include(yield* mta.replies, failed("timeout"))
    }))

  const startWith = <R extends MilterClient.Dialer>(
    filter: Milter.Filter<never, R>,
    options?: MilterServer.Options
  ) =>
    // Nothing is dialled at the start.
    Effect.map(
      Effect.exit(Effect.scoped(serve(agreeing(), filter, options))),
      (exit) => Exit.isSuccess(exit) ? "started" : String(Cause.squash(exit.cause))
    )

  it.effect("that is declared must fit into the server's, with the numbers", () =>
    Effect.gen(function*() {
      const named = (name: string, timeouts: Milter.RemoteOptions["timeouts"]) =>
        Milter.remote(name, { to: "memory:child", modify: [], timeouts: timeouts! })
      const start = (
        first: Milter.RemoteOptions["timeouts"],
        second: Milter.RemoteOptions["timeouts"],
        options?: MilterServer.Options
      ) => startWith(explained(Milter.sequence([named("opendkim", first), named("rspamd", second)])), options)
      assert.strictEqual(yield* start({ command: "4 seconds" }, { command: "4 seconds" }), "started")
      assert.include(
        yield* start({ command: "4 seconds" }, { connect: "1 second", command: "20 seconds" }),
        "Invalid timeouts \"opendkim 4 s + rspamd 21 s\": expected at most 8 s together, which the server has for the answer to a " +
          "command, not 25 s: declare less, or raise commandTimeout of the server, below the MTA's own time"
      )
      assert.strictEqual(
        yield* start({ command: "4 seconds" }, { command: "20 seconds" }, { commandTimeout: "24 seconds" }),
        "started"
      )
      assert.include(
        yield* start({ endOfMessage: "5 minutes" }, { endOfMessage: "1 minute" }),
        "Invalid timeouts \"opendkim 300 s + rspamd 60 s\": expected at most 240 s together, which the server has for the answer to " +
          "end of message, not 360 s: declare less, or raise endOfMessageTimeout"
      )
      // A filter in the shadow has no share in the time of the answers.
      assert.strictEqual(
        yield* startWith(Milter.shadow(named("trial", { command: "1 minute" }))),
        "started"
      )
    }))

  it.effect("a milter that signs comes last, also under a condition", () =>
    Effect.gen(function*() {
      const signs = explained(declare({ modify: ["addHeader"], signs: true }))
      const tags = Milter.make("tags", { modify: ["addHeader"] }).on({})
      for (const signer of [signs, Milter.when(signs, { mail: () => true })]) {
        assert.strictEqual(yield* startWith(Milter.sequence([tags, signer])), "started")
        assert.include(
          yield* startWith(Milter.sequence([signer, tags])),
          "expected tags in front of child, whose signature it would break"
        )
      }
    }))
})

describe("as a service", () => {
  it.effect("the layer that provides the filter brings its dialer", () =>
    Effect.gen(function*() {
      class Child extends Milter.Service<Child>()("test/Child") {}
      const network = yield* Scripted.network({ [to]: answering("Mail", [{ _tag: "Reject" }]) })
      const layer = Layer.provide(Milter.layer(Child, explained(declare())), network.dialer)
      const server = yield* Effect.provide(Mta.serve(Child), layer)
      const mta = yield* server.open()
      assert.deepStrictEqual(yield* mta.each(...session, Mta.mail()), ["Continue", "Continue", "Reject"])
    }))
})

describe("the next SMTP session of a connection", () => {
  it.effect("has a connection of its own", () =>
    Effect.gen(function*() {
      const { dials, server } = yield* serve(answering("Mail", [{ _tag: "Shutdown" }]), explained(declare()))
      const mta = yield* server.open()
      const answers = yield* mta.each(...session, Mta.mail(), Mta.quitNewConnection, ...session, Mta.mail())
      assert.strictEqual(dials(), 2)
      assert.deepStrictEqual([answers[2], answers[6]], [failed("protocol"), failed("protocol")])
    }))
})

describe("under a condition", () => {
  it.effect("held commands share the time of the one that is answered", () =>
    Effect.gen(function*() {
      const filter = Milter.when(explained(declare()), { mail: () => true })
      const { child, server } = yield* serve(
        agreeing((packet) => packet._tag === "Connect" || packet._tag === "Helo" ? [] : undefined),
        filter
      )
      const mta = yield* server.open()
      yield* mta.each(...session, Mta.mail())
      yield* TestClock.adjust("5 seconds")
      child().send({ _tag: "Continue" })
      yield* Mta.settle
      assert.deepStrictEqual(tags(child().packets), ["Negotiate", "Connect", "Helo"])
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(yield* mta.replies, [failed("timeout")])
    }))
})
