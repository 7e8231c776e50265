/** What Postfix and its client see on a bad day: filters that are slow, fail, are overrun or die. By the real clock. */
import { assert, layer } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import type * as MilterServer from "effect-milter/MilterServer"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { once } from "node:events"
import * as Net from "node:net"
import * as Path from "node:path"
import * as Postfix from "../../testbed/postfix.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import { directory, quiet } from "../support/listeners.ts"
import * as DecidingFilter from "./support/decidingFilter.ts"
import * as FilterServer from "./support/filterServer.ts"

const { crlf } = SmtpClient

const message = crlf(`From: Alice <alice@example.org>
To: bob@test.example
Subject: plain
Date: Mon, 01 Jan 2024 00:00:00 +0000
Message-ID: <1@example.org>

Hello, Bob.
`)

const goOn = Effect.succeed(Verdict.continue)
const boom = Effect.die(new Error("boom"))
const down = Effect.fail("down" as const)

/** Postfix's own words, by its default action. */
const unavailable = "451 4.7.1 Service unavailable - try again later"
/** The library's words for a defect and for a hook that is too slow. */
const failed = "451 4.3.0 Temporary failure, please try again later"
const refusedByPolicy = Verdict.reject({ code: "550", enhanced: "5.7.1", text: "the policy" })
const laterByPolicy = Verdict.tempFail({ code: "450", enhanced: "4.7.1", text: "the policy" })

/** What a message came to: where it was refused and how, or `delivered`. The session's id is left out. */
const outcomeOf = ({ accepted, data, mail, message, rcpt }: SmtpClient.MailResult): string => {
  const refused = accepted ? undefined : Object.entries({ mail, rcpt: rcpt.at(-1), data, message })
    .findLast(([, reply]) => reply !== undefined)
  const text = refused === undefined ? "delivered" : `${refused[0]}: ${refused[1]!.text}`
  return text.replace(/ \(session [0-9a-z-]+\)/, "")
}

interface Failure {
  readonly what: string
  readonly filter: Milter.Filter<never, never>
  readonly options?: MilterServer.Options
  readonly greeting?: number
  /** What a message to Bob and Carol comes to; two of them are sent in one session. */
  readonly outcome: string
  /** Who gets it; nobody unless it is delivered. */
  readonly recipients?: ReadonlyArray<string>
}

const both = ["bob@test.example", "carol@test.example"]
const delivered = { outcome: "delivered", recipients: both }

const failures: ReadonlyArray<Failure> = [
  {
    what: "a typed failure at mail is answered there as onFailure says",
    filter: Milter.make("failing").on({ mail: () => down }).pipe(
      Milter.onFailure(() => Effect.succeed(refusedByPolicy))
    ),
    outcome: "mail: 550 5.7.1 the policy"
  },
  {
    what: "a typed failure that passes lets the message go on without the filter",
    filter: Milter.make("failing").on({ header: () => down }).pipe(Milter.onFailure(() => Effect.succeed("pass"))),
    ...delivered
  },
  {
    what: "a typed failure at rcpt concerns that recipient",
    filter: Milter.make("failing").on({ rcpt: ({ recipient }) => recipient.localPart === "bob" ? down : goOn }).pipe(
      Milter.onFailure(() => Effect.succeed(laterByPolicy))
    ),
    outcome: "delivered",
    recipients: ["carol@test.example"]
  },
  {
    what: "a defect is a temporary refusal",
    filter: Milter.make("dying").on({ endOfMessage: () => boom }),
    outcome: `message: ${failed}`
  },
  {
    what: "a defect is answered by onDefect",
    filter: Milter.make("dying", { onDefect: refusedByPolicy }).on({ body: () => boom }),
    outcome: "message: 550 5.7.1 the policy"
  },
  {
    what: "a defect that passes lets the message go on without the filter, unmodified",
    filter: Milter.make("dying", { onDefect: "pass", modify: ["addHeader"] }).on({
      endOfMessage: (_, { edit }) => Effect.andThen(edit.addHeader("X-Half", "done"), boom)
    }),
    ...delivered
  },
  {
    what: "a hook that throws is a defect",
    filter: Milter.make("throwing").on({
      mail: () => {
        throw new Error("boom")
      }
    }),
    outcome: `mail: ${failed}`
  },
  {
    what: "a defect at connect is answered at each MAIL",
    filter: Milter.make("dying").on({ connect: () => boom }),
    outcome: `mail: ${failed}`
  },
  {
    what: "a defect at connect with refuseConnection is answered there",
    filter: Milter.make("dying", { refuseConnection: true, onDefect: refusedByPolicy }).on({ connect: () => boom }),
    greeting: 554,
    outcome: "mail: 550 5.7.1 the policy"
  },
  {
    what: "a connection's state that cannot be built is answered at each MAIL",
    filter: Milter.make("dying", { connection: () => boom }).on({ rcpt: () => goOn }),
    outcome: `mail: ${failed}`
  },
  {
    what: "a message's state that cannot be built is answered at MAIL",
    filter: Milter.make("dying", { message: () => boom }).on({ rcpt: () => goOn }),
    outcome: `mail: ${failed}`
  },
  {
    what: "the failure of an observer is answered at the end of the message",
    filter: Milter.make("watching").on({}, { header: () => boom }),
    outcome: `message: ${failed}`
  },
  {
    what: "a hook whose time is over is answered by onDefect",
    filter: Milter.make("slow", { onDefect: laterByPolicy }).on({ data: () => Effect.never }),
    options: { commandTimeout: "300 millis" },
    outcome: "data: 450 4.7.1 the policy"
  },
  {
    what: "an end of message whose time is over is a temporary refusal",
    filter: Milter.make("slow").on({ endOfMessage: () => Effect.never }),
    options: { endOfMessageTimeout: "300 millis" },
    outcome: `message: ${failed}`
  },
  {
    what: "too many recipients: the sender splits the message",
    filter: Milter.make("limited").on({ endOfMessage: () => goOn }),
    options: { maxRecipients: 1 },
    outcome: "delivered",
    recipients: ["bob@test.example"]
  },
  {
    what: "too many header fields",
    filter: Milter.make("limited").on({ header: () => goOn }),
    options: { maxHeaders: 4 },
    outcome: "message: 552 5.3.4 The header is too large"
  },
  {
    what: "too large a header",
    filter: Milter.make("limited").on({}, { header: () => Effect.void }),
    options: { maxHeaderBytes: 100 },
    outcome: "message: 552 5.3.4 The header is too large"
  },
  {
    what: "too large a body",
    filter: Milter.make("limited").on({ body: () => goOn }),
    options: { maxBodyBytes: 10 },
    outcome: "message: 552 5.3.4 The message is too large"
  },
  {
    what: "too large a body that may pass",
    filter: Milter.make("limited").on({ body: () => Effect.succeed(Verdict.reject()) }),
    options: { maxBodyBytes: 10, tooLarge: "pass" },
    ...delivered
  },
  {
    what: "an MTA that is not among the peers keeps to its default action",
    filter: Milter.make("choosy").on({ mail: () => goOn }),
    options: { peers: ["192.0.2.0/24"] },
    outcome: `mail: ${unavailable}`
  }
]

class Fixture extends Context.Service<Fixture, {
  /** What the patient filter went through, in order. */
  readonly events: Ref.Ref<ReadonlyArray<string>>
  /** Where the deciding filter is expected. */
  readonly socket: string
  /** The port of a filter that takes one connection at a time. */
  readonly single: number
}>()("test/Fixture") {}

const describeExit = (exit: Exit.Exit<unknown, unknown>): string =>
  Option.match(Milter.outcome(exit), {
    onSome: ({ _tag }) => _tag,
    onNone: () => Exit.isSuccess(exit) ? "in order" : "interrupted"
  })

/** Takes its time where the sender says so, and writes down what becomes of it. */
const patient = (events: Ref.Ref<ReadonlyArray<string>>) => {
  const note = (event: string) => Ref.update(events, (all) => [...all, event])
  const slow = (milliseconds: number) =>
    Effect.as(Effect.sleep(milliseconds), Verdict.continue).pipe(
      Effect.onInterrupt(() => note("hook interrupted")),
      Effect.ensuring(note("hook's finalizer"))
    )
  return Milter.make("patient", {
    modify: ["addHeader"],
    connection: () => Effect.addFinalizer((exit) => note(`connection ${describeExit(exit)}`)),
    message: () => Effect.addFinalizer((exit) => note(`message ${describeExit(exit)}`))
  }).on({
    mail: ({ sender }) => sender.localPart === "slow-mail" ? slow(10_000) : goOn,
    body: (_, { envelope }) => envelope.sender.localPart === "slow-body" ? slow(10_000) : goOn,
    endOfMessage: (_, { edit, envelope }) => {
      const [, seconds] = /^slow-end-(\d+)$/.exec(envelope.sender.localPart) ?? []
      return Effect.andThen(
        edit.addHeader("X-Patient", "yes"),
        seconds === undefined ? goOn : slow(Number(seconds) * 1000)
      )
    }
  })
}

const fixture = Layer.effectContext(Effect.gen(function*() {
  const events = yield* Ref.make<ReadonlyArray<string>>([])
  const serve = Effect.fnUntraced(function*(filter: Milter.Filter<never, never>, options?: MilterServer.Options) {
    return FilterServer.forPostfix(yield* Effect.provide(FilterServer.serve(filter, undefined, options), quiet))
  })
  const listeners: Record<string, Postfix.Listener> = {}
  for (const { filter, options, what } of failures) listeners[what] = { milters: yield* serve(filter, options) }
  const slow = yield* serve(patient(events))
  const silent = yield* serve(patient(events), { progressInterval: "1 hour" })
  const single = yield* serve(Milter.make("single").on({ mail: () => goOn }), { maxConnections: 1 })
  const socket = `unix:${Path.join(yield* directory, "deciding.sock")}`
  const postfix = yield* Postfix.make<string>({
    milters: "",
    listeners: {
      ...listeners,
      slow: { milters: `{ ${slow}, command_timeout=2s, content_timeout=10s }` },
      hasty: { milters: `{ ${slow}, command_timeout=2s, content_timeout=2s }` },
      silent: { milters: `{ ${silent}, content_timeout=2s }` },
      single: { milters: single },
      deciding: { milters: socket },
      careless: { milters: `{ ${socket}, default_action=accept }` }
    }
  })
  return Context.make(Fixture, { events, socket, single: Number(single.split(":").at(-1)) }).pipe(
    Context.add(Postfix.Postfix, postfix)
  )
}))

Postfix.describePostfix("reliability with Postfix", () => {
  layer(fixture, { excludeTestServices: true, timeout: "1 minute" })((it) => {
    const open = Effect.fnUntraced(function*(name: string) {
      const postfix = yield* Postfix.Postfix
      return yield* SmtpClient.connect(postfix.portOf(name), { timeout: 60_000 })
    })
    const mailFrom = (localPart: string, to: ReadonlyArray<string> = ["bob@test.example"]) => ({
      from: `${localPart}@example.org`,
      to,
      message
    })

    /** Waits until the patient filter has written this many lines, and takes them. */
    const takeEvents = Effect.fnUntraced(function*(count: number) {
      const { events } = yield* Fixture
      for (let turn = 0; turn < 300 && (yield* Ref.get(events)).length < count; turn++) yield* Effect.sleep(10)
      return yield* Ref.getAndSet(events, [])
    })

    const nothingDelivered = Effect.gen(function*() {
      const postfix = yield* Postfix.Postfix
      assert.deepStrictEqual(yield* postfix.awaitIdle(), [])
    })

    for (const [name, sender] of [["slow", "slow-mail"], ["hasty", "slow-body"]] as const) {
      it.effect(
        `interrupts a hook of 10 s when Postfix gives up after 2, at ${sender.slice(5)}`,
        () =>
          Effect.gen(function*() {
            const client = yield* open(name)
            const [elapsed, result] = yield* Effect.timed(client.sendMail(mailFrom(sender)))
            assert.strictEqual(result.last.text, unavailable)
            assert.isBelow(Duration.toSeconds(elapsed), 5)
            assert.deepStrictEqual(yield* takeEvents(4), [
              "hook interrupted",
              "hook's finalizer",
              "message interrupted",
              "connection interrupted"
            ])
            // Postfix keeps to its default action for the rest of the session; the next one begins anew.
            assert.strictEqual((yield* client.sendMail(mailFrom("alice"))).last.text, unavailable)
            yield* nothingDelivered
            const next = yield* open(name)
            assert.isTrue((yield* next.sendMail(mailFrom("alice"))).accepted)
            const mail = yield* (yield* Postfix.Postfix).takeOne()
            assert.deepStrictEqual(Postfix.headerValues(mail, "X-Patient"), ["yes"])
            yield* next.quit
            assert.deepStrictEqual(yield* takeEvents(2), ["message Accepted", "connection in order"])
          }),
        20_000
      )
    }

    it.effect(
      "shows signs of life: Postfix, which waits 10 s, waits 40 s for the end of a message",
      () =>
        Effect.gen(function*() {
          const client = yield* open("slow")
          const [elapsed, result] = yield* Effect.timed(client.sendMail(mailFrom("slow-end-40")))
          assert.isTrue(result.accepted, result.last.text)
          assert.isAtLeast(Duration.toSeconds(elapsed), 40)
          const mail = yield* (yield* Postfix.Postfix).takeOne()
          assert.deepStrictEqual(Postfix.headerValues(mail, "X-Patient"), ["yes"])
          yield* client.quit
          assert.deepStrictEqual(yield* takeEvents(3), ["hook's finalizer", "message Accepted", "connection in order"])
        }),
      60_000
    )

    it.effect("is given up at the end of a message without signs of life", () =>
      Effect.gen(function*() {
        const client = yield* open("silent")
        assert.strictEqual((yield* client.sendMail(mailFrom("slow-end-10"))).last.text, unavailable)
        assert.deepStrictEqual((yield* takeEvents(4)).slice(0, 3), [
          "hook interrupted",
          "hook's finalizer",
          "message interrupted"
        ])
        yield* nothingDelivered
      }))

    it.effect("ends hooks when the SMTP client has gone, at the end of the session", () =>
      Effect.gen(function*() {
        const client = yield* open("slow")
        yield* client.command("EHLO client.example.org")
        yield* client.command("MAIL FROM:<alice@example.org>")
        yield* client.reset
        assert.deepStrictEqual(yield* takeEvents(2), ["message interrupted", "connection in order"])
      }))

    for (const { greeting = 220, outcome, recipients, what } of failures) {
      it.effect(what, () =>
        Effect.gen(function*() {
          const postfix = yield* Postfix.Postfix
          const client = yield* open(what)
          assert.strictEqual(client.greeting.code, greeting)
          for (let count = 0; count < 2; count++) {
            const result = yield* client.sendMail(mailFrom("alice", both))
            assert.strictEqual(outcomeOf(result), outcome)
            // A sender without a verdict on its message has not got one.
            if (recipients === undefined) {
              yield* client.command("RSET")
              continue
            }
            assert.deepStrictEqual(
              result.rcpt.map(({ code }) => code >= 400),
              both.map((to) => !recipients.includes(to))
            )
            const mail = yield* postfix.takeOne()
            assert.deepStrictEqual(mail.recipients, recipients)
            assert.strictEqual(Postfix.withoutReceived(mail), message.replaceAll("\r\n", "\n"))
          }
          yield* nothingDelivered
        }))
    }

    it.effect("puts off a recipient too many with 452", () =>
      Effect.gen(function*() {
        const client = yield* open("too many recipients: the sender splits the message")
        const { rcpt } = yield* client.sendMail(mailFrom("alice", both))
        assert.match(rcpt[1]!.text, /^452 4\.5\.3 Too many recipients \(session .*\)$/)
        yield* (yield* Postfix.Postfix).takeOne()
      }))

    it.effect("greets a client with 421 while there are too many connections", () =>
      Effect.gen(function*() {
        const first = yield* open("single")
        yield* first.command("EHLO client.example.org")
        const second = yield* open("single")
        assert.strictEqual(
          second.greeting.text,
          "421 mx.test.example Service unavailable - try again later"
        )
        assert.strictEqual(yield* second.awaitClosed, "end")
        assert.isTrue((yield* first.sendMail(mailFrom("alice"))).accepted)
        yield* first.quit
        const third = yield* open("single")
        assert.isTrue((yield* third.sendMail(mailFrom("alice"))).accepted)
        yield* (yield* Postfix.Postfix).takeDelivered(2)
      }))

    it.effect("serves an MTA though peers that say nothing are as many as may connect", () =>
      Effect.gen(function*() {
        const port = (yield* Fixture).single
        const silent = Array.from({ length: 5 }, () => Net.connect({ port, host: "127.0.0.1" }))
        yield* Effect.addFinalizer(() => Effect.sync(() => silent.forEach((socket) => socket.destroy())))
        yield* Effect.promise(() => Promise.all(silent.map((socket) => once(socket, "connect"))))
        assert.isTrue((yield* (yield* open("single")).sendMail(mailFrom("alice"))).accepted)
        yield* (yield* Postfix.Postfix).takeDelivered(1)
      }))

    /** A message through the filter, and one more during which the filter is killed. */
    const killed = Effect.fnUntraced(function*(name: string) {
      const { socket } = yield* Fixture
      const postfix = yield* Postfix.Postfix
      const filter = yield* DecidingFilter.start({ listen: socket, milliseconds: 0 })
      const client = yield* open(name)
      assert.isTrue((yield* client.sendMail(mailFrom("alice"))).accepted)
      assert.deepStrictEqual(Postfix.headerValues(yield* postfix.takeOne(), "X-Filtered"), ["alice@example.org"])
      const hanging = yield* Effect.forkChild(client.sendMail(mailFrom("hang")), { startImmediately: true })
      yield* filter.shows(/hangs at the body/)
      yield* filter.signal("SIGKILL")
      return { client, result: yield* Fiber.join(hanging) }
    })

    it.effect("lets nothing through unfiltered when the filter is killed, with tempfail", () =>
      Effect.gen(function*() {
        const { socket } = yield* Fixture
        const { client, result } = yield* killed("deciding")
        assert.strictEqual(outcomeOf(result), `message: ${unavailable}`)
        assert.strictEqual(outcomeOf(yield* client.sendMail(mailFrom("alice"))), `mail: ${unavailable}`)
        const during = yield* open("deciding")
        assert.strictEqual(outcomeOf(yield* during.sendMail(mailFrom("alice"))), `mail: ${unavailable}`)
        yield* nothingDelivered
        // Its socket file is still there; the next process takes its place.
        yield* DecidingFilter.start({ listen: socket, milliseconds: 0 })
        const after = yield* open("deciding")
        assert.isTrue((yield* after.sendMail(mailFrom("alice"))).accepted)
        const mail = yield* (yield* Postfix.Postfix).takeOne()
        assert.deepStrictEqual(Postfix.headerValues(mail, "X-Filtered"), ["alice@example.org"])
      }))

    it.effect("lets mail through unfiltered when the filter is killed, where the operator chose accept", () =>
      Effect.gen(function*() {
        const { result } = yield* killed("careless")
        assert.isTrue(result.accepted)
        const mail = yield* (yield* Postfix.Postfix).takeOne()
        assert.deepStrictEqual(Postfix.headerValues(mail, "X-Filtered"), [])
      }))
  })
})
