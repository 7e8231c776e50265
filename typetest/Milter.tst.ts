// The mistakes below are the point.
// @effect-diagnostics missingEffectError:off missingLayerContext:off
import { Context, Effect, Layer, Option, Ref, Schedule, type Scope, Stream } from "effect"
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import type * as Modification from "effect-milter/Modification"
import type * as Stage from "effect-milter/Stage"
import * as Verdict from "effect-milter/Verdict"
import { describe, expect, it } from "tstyche"

class DnsError {
  readonly _tag = "DnsError"
}
class DbError {
  readonly _tag = "DbError"
}
class Dns
  extends Context.Service<Dns, { readonly txt: (domain: string) => Effect.Effect<string, DnsError> }>()("Dns")
{}
class Db extends Context.Service<Db, { readonly seen: (key: string) => Effect.Effect<boolean, DbError> }>()("Db") {}
class Clamav
  extends Context.Service<Clamav, { readonly scan: (bytes: Uint8Array) => Effect.Effect<void> }>()("Clamav")
{}

/** Exactly E and R of a filter, whatever other properties it has. */
declare const typesOf: <E, R>(filter: Milter.Filter<E, R>) => { readonly e: E; readonly r: R }
interface Types<E, R> {
  readonly e: E
  readonly r: R
}

const ask = (name: string) => Effect.flatMap(Dns, (dns) => dns.txt(name))
const seen = (key: string) => Effect.flatMap(Db, (db) => db.seen(key))

describe("inference of E and R", () => {
  it("is never for pure hooks", () => {
    const filter = Milter.make("not-from-us").on({
      mail: ({ sender }) =>
        Effect.succeed(
          sender.domain === "example.com"
            ? Verdict.reject({ enhanced: "5.7.1", text: "not allowed here!" })
            : Verdict.continue
        )
    })
    expect(filter).type.toBe<Milter.Made<never, never>>()
  })

  it("is never for a filter without hooks", () => {
    expect(Milter.make("nothing").on({})).type.toBe<Milter.Made<never, never>>()
    expect(Milter.make("nothing", {}).on({}, {})).type.toBe<Milter.Made<never, never>>()
  })

  it("joins the failures and needs of plain functions", () => {
    const filter = Milter.make("x").on({
      connect: ({ hostname }) => Effect.as(ask(hostname), Verdict.continue),
      rcpt: ({ recipient }) =>
        Effect.map(seen(recipient.address), (known) => known ? Verdict.continue : Verdict.tempFail())
    })
    expect(typesOf(filter)).type.toBe<Types<DnsError | DbError, Dns | Db>>()
  })

  it("joins those of answers and observers", () => {
    const filter = Milter.make("x").on({ mail: ({ sender }) => Effect.as(ask(sender.domain), Verdict.continue) }, {
      body: ({ bytes }) => Effect.flatMap(Clamav, (clamav) => clamav.scan(bytes)),
      helo: ({ name }) => Effect.asVoid(seen(name))
    })
    expect(typesOf(filter)).type.toBe<Types<DnsError | DbError, Dns | Db | Clamav>>()
  })

  it("works for fnUntraced with trailing combinators", () => {
    const filter = Milter.make("x", {
      modify: ["addHeader"],
      connection: (session) => Effect.map(Ref.make(0), (count) => ({ count, id: session.id })),
      message: (mail, { connection }) => Effect.succeed({ from: mail.sender.domain + connection.id })
    }).on({
      mail: Effect.fnUntraced(
        function*(mail, { connection, message }) {
          expect(message).type.toBe<{ from: string }>()
          yield* Ref.update(connection.count, (n) => n + message.from.length)
          yield* ask(mail.sender.domain)
          return Verdict.continue
        },
        Effect.catchTag("DnsError", () => Effect.succeed(Verdict.tempFail()))
      ),
      rcpt: Effect.fnUntraced(function*(rcpt, { message }) {
        yield* Effect.acquireRelease(Effect.void, () => Effect.void)
        return (yield* seen(rcpt.recipient.address + message.from)) ? Verdict.continue : Verdict.tempFail()
      }, Effect.retry(Schedule.recurs(2))),
      endOfMessage: Effect.fnUntraced(function*(_, { edit }) {
        yield* edit.addHeader("X-From", "y")
        return Verdict.acceptMessage
      })
    }, {
      helo: Effect.fnUntraced(function*(helo, { session }) {
        yield* Effect.log(helo.name, session.id)
      })
    })
    expect(typesOf(filter)).type.toBe<Types<DbError, Dns | Db>>()
  })

  it("takes the failures and needs of state builders", () => {
    const filter = Milter.make("x", {
      connection: (session) => ask(session.hostname),
      message: ({ sender }) => seen(sender.address)
    }).on({})
    expect(typesOf(filter)).type.toBe<Types<DnsError | DbError, Dns | Db>>()
  })

  it("takes state builders written with fnUntraced, each alone", () => {
    const connection = Milter.make("x", {
      connection: Effect.fnUntraced(function*(session) {
        expect(session).type.toBe<Stage.Session>()
        return { txt: yield* ask(session.hostname) }
      })
    }).on({
      data: (_, { connection }) => {
        expect(connection).type.toBe<{ txt: string }>()
        return Effect.succeed(Verdict.continue)
      }
    })
    expect(typesOf(connection)).type.toBe<Types<DnsError, Dns>>()
    const message = Milter.make("x", {
      modify: ["addHeader"],
      message: Effect.fnUntraced(function*({ sender }, { connection, session }) {
        expect(connection).type.toBe<void>()
        expect(session).type.toBe<Stage.Session>()
        return { known: yield* seen(sender.address) }
      })
    }).on({
      data: (_, { message }) => {
        expect(message).type.toBe<{ known: boolean }>()
        return Effect.succeed(Verdict.continue)
      }
    })
    expect(typesOf(message)).type.toBe<Types<DbError, Db>>()
  })

  it("takes both state builders as fnUntraced; one that reads the other's state says its type", () => {
    // TypeScript looks at both at once, before it knows what the first one gives.
    interface Connection {
      readonly txt: string
    }
    const filter = Milter.make("x", {
      connection: Effect.fnUntraced(function*(session) {
        return { txt: yield* ask(session.hostname) }
      }),
      message: Effect.fnUntraced(function*({ sender }, { connection }: { readonly connection: Connection }) {
        return { known: yield* seen(sender.address + connection.txt) }
      })
    }).on({
      data: (_, { connection, message }) => {
        expect(connection.txt).type.toBe<string>()
        expect(message).type.toBe<{ known: boolean }>()
        return Effect.succeed(Verdict.continue)
      }
    })
    expect(typesOf(filter)).type.toBe<Types<DnsError | DbError, Dns | Db>>()
  })

  it("infers plain state builders from each other, generators inside", () => {
    const filter = Milter.make("x", {
      connection: (session) =>
        Effect.gen(function*() {
          return { txt: yield* ask(session.hostname) }
        }),
      message: ({ sender }, { connection }) => {
        expect(connection).type.toBe<{ txt: string }>()
        return seen(sender.address + connection.txt)
      }
    }).on({
      data: (_, { connection, message }) => {
        expect(connection).type.toBe<{ txt: string }>()
        expect(message).type.toBe<boolean>()
        return Effect.succeed(Verdict.continue)
      }
    })
    expect(typesOf(filter)).type.toBe<Types<DnsError | DbError, Dns | Db>>()
  })

  it("takes those of a replaced body", () => {
    const body = Stream.fromEffect(Effect.as(ask("x"), new Uint8Array(1)))
    const filter = Milter.make("x", { modify: ["replaceBody"] }).on({
      endOfMessage: (_, { edit }) => Effect.as(edit.replaceBody(body), Verdict.continue)
    })
    expect(typesOf(filter)).type.toBe<Types<DnsError, Dns>>()
  })

  it("never lets Scope reach R", () => {
    const acquire = Effect.acquireRelease(Effect.succeed(1), () => Effect.void)
    expect(acquire).type.toBe<Effect.Effect<number, never, Scope.Scope>>()
    expect(
      Milter.make("x", { connection: () => acquire, message: () => acquire }).on({
        mail: () => Effect.as(acquire, Verdict.continue),
        endOfMessage: () => Effect.as(Effect.andThen(ask("x"), acquire), Verdict.continue)
      }, { helo: () => Effect.asVoid(acquire) })
    ).type.toBe<Milter.Made<DnsError, Dns>>()
  })
})

describe("each hook alone, as fnUntraced", () => {
  it("connect", () => {
    const filter = Milter.make("x").on({
      connect: Effect.fnUntraced(function*(event, at) {
        expect(event).type.toBe<Stage.Connect>()
        expect(at.session).type.toBe<Stage.Session>()
        expect(at.connection).type.toBe<void>()
        yield* ask(event.hostname)
        return Verdict.acceptConnection
      })
    })
    expect(filter).type.toBe<Milter.Made<DnsError, Dns>>()
  })
  it("helo", () => {
    const filter = Milter.make("x").on({
      helo: Effect.fnUntraced(function*(event, at) {
        expect(event).type.toBe<Stage.Helo>()
        expect(at.session).type.toBe<Stage.Session>()
        yield* ask(event.name)
        return Verdict.reject()
      })
    })
    expect(filter).type.toBe<Milter.Made<DnsError, Dns>>()
  })
  it("mail", () => {
    const filter = Milter.make("x").on({
      mail: Effect.fnUntraced(function*(event, at) {
        expect(event).type.toBe<Stage.Mail>()
        expect(at.envelope).type.toBe<Stage.Envelope>()
        expect(at.message).type.toBe<void>()
        yield* ask(event.sender.domain)
        return Verdict.discardMessage
      })
    })
    expect(filter).type.toBe<Milter.Made<DnsError, Dns>>()
  })
  it("rcpt", () => {
    const filter = Milter.make("x").on({
      rcpt: Effect.fnUntraced(function*(event, at) {
        expect(event).type.toBe<Stage.Rcpt>()
        expect(at.envelope.recipients).type.toBe<ReadonlyArray<Stage.Rcpt>>()
        yield* ask(event.recipient.domain)
        return Verdict.tempFail()
      })
    })
    expect(filter).type.toBe<Milter.Made<DnsError, Dns>>()
  })
  it("data", () => {
    const filter = Milter.make("x").on({
      data: Effect.fnUntraced(function*(event, at) {
        expect(event).type.toBe<Stage.Data>()
        yield* ask(at.session.hostname)
        return Verdict.acceptMessage
      })
    })
    expect(filter).type.toBe<Milter.Made<DnsError, Dns>>()
  })
  it("header", () => {
    const filter = Milter.make("x").on({
      header: Effect.fnUntraced(function*(event) {
        expect(event).type.toBe<Stage.Header>()
        yield* ask(event.value)
        return Verdict.continue
      })
    })
    expect(filter).type.toBe<Milter.Made<DnsError, Dns>>()
  })
  it("endOfHeaders", () => {
    const filter = Milter.make("x").on({
      endOfHeaders: Effect.fnUntraced(function*(_, at) {
        yield* ask(at.session.id)
        return Verdict.continue
      })
    })
    expect(filter).type.toBe<Milter.Made<DnsError, Dns>>()
  })
  it("body", () => {
    const filter = Milter.make("x").on({
      body: Effect.fnUntraced(function*(event) {
        expect(event).type.toBe<Stage.Body>()
        yield* ask(String(event.bytes.length))
        return Verdict.skipBody
      })
    })
    expect(filter).type.toBe<Milter.Made<DnsError, Dns>>()
  })
  it("endOfMessage", () => {
    const filter = Milter.make("x").on({
      endOfMessage: Effect.fnUntraced(function*(_, at) {
        expect(at.edit).type.toBe<Modification.EditorOf<never, never>>()
        yield* ask(at.session.id)
        return Verdict.continue
      })
    })
    expect(filter).type.toBe<Milter.Made<DnsError, Dns>>()
  })
  it("unknown", () => {
    const filter = Milter.make("x").on({
      unknown: Effect.fnUntraced(function*(event) {
        expect(event).type.toBe<Stage.Unknown>()
        yield* ask(event.line)
        return Verdict.reject()
      })
    })
    expect(filter).type.toBe<Milter.Made<DnsError, Dns>>()
  })
  it("every observer", () => {
    const watch = (name: string) => Effect.asVoid(ask(name))
    const one = { rejectedRecipients: true } as const
    expect(Milter.make("x").on({}, { connect: () => watch("x") })).type.toBe<Milter.Made<DnsError, Dns>>()
    expect(Milter.make("x").on({}, { helo: () => watch("x") })).type.toBe<Milter.Made<DnsError, Dns>>()
    expect(Milter.make("x").on({}, { mail: () => watch("x") })).type.toBe<Milter.Made<DnsError, Dns>>()
    expect(Milter.make("x").on({}, { rcpt: () => watch("x") })).type.toBe<Milter.Made<DnsError, Dns>>()
    expect(Milter.make("x").on({}, { data: () => watch("x") })).type.toBe<Milter.Made<DnsError, Dns>>()
    expect(Milter.make("x").on({}, { header: () => watch("x") })).type.toBe<Milter.Made<DnsError, Dns>>()
    expect(Milter.make("x").on({}, { endOfHeaders: () => watch("x") })).type.toBe<Milter.Made<DnsError, Dns>>()
    expect(Milter.make("x").on({}, { body: () => watch("x") })).type.toBe<Milter.Made<DnsError, Dns>>()
    expect(Milter.make("x").on({}, { endOfMessage: () => watch("x") })).type.toBe<Milter.Made<DnsError, Dns>>()
    expect(Milter.make("x").on({}, { unknown: () => watch("x") })).type.toBe<Milter.Made<DnsError, Dns>>()
    expect(Milter.make("x", one).on({}, { rejectedRecipient: () => watch("x") })).type.toBe<
      Milter.Made<DnsError, Dns>
    >()
  })
  it("every observer as fnUntraced gets its event", () => {
    const filter = Milter.make("x", { rejectedRecipients: true, message: () => Effect.succeed(1) }).on({}, {
      connect: Effect.fnUntraced(function*(event) {
        expect(event).type.toBe<Stage.Connect>()
        yield* Effect.void
      }),
      header: Effect.fnUntraced(function*(event, { message }) {
        expect(event).type.toBe<Stage.Header>()
        expect(message).type.toBe<number>()
        yield* seen(event.name)
      }),
      body: Effect.fnUntraced(function*({ bytes }) {
        yield* (yield* Clamav).scan(bytes)
      }),
      rejectedRecipient: Effect.fnUntraced(function*(event) {
        expect(event).type.toBe<Stage.RejectedRecipient>()
        yield* ask(event.enhanced + event.text)
      })
    })
    expect(typesOf(filter)).type.toBe<Types<DbError | DnsError, Db | Dns | Clamav>>()
  })
})

describe("state and capabilities", () => {
  it("state only", () => {
    const filter = Milter.make("s", { message: () => Effect.succeed({ n: 1 }) }).on({
      rcpt: Effect.fnUntraced(function*(_, { connection, message }) {
        expect(message).type.toBe<{ n: number }>()
        expect(connection).type.toBe<void>()
        yield* Effect.log(message.n)
        return Verdict.continue
      })
    })
    expect(filter).type.toBe<Milter.Made<never, never>>()
    Milter.make("s", { connection: () => Effect.succeed("c" as const) }).on({
      connect: (_, { connection }) => {
        expect(connection).type.toBe<"c">()
        return Effect.succeed(Verdict.continue)
      },
      endOfMessage: (_, { connection, message }) => {
        expect(connection).type.toBe<"c">()
        expect(message).type.toBe<void>()
        return Effect.succeed(Verdict.continue)
      }
    })
  })

  it("capabilities only", () => {
    Milter.make("s", { modify: ["quarantine", "replaceBody"] }).on({
      endOfMessage: Effect.fnUntraced(function*(_, { edit }) {
        expect(edit.quarantine).type.toBe<(reason: string) => Effect.Effect<void>>()
        expect(edit).type.not.toHaveProperty("addHeader")
        yield* edit.quarantine("x")
        yield* edit.replaceBody(new Uint8Array(0))
        return Verdict.continue
      })
    })
  })

  it("optional capabilities are Options", () => {
    const filter = Milter.make("o", {
      modifyIfOffered: ["quarantine"],
      modify: ["addHeader"],
      rejectedRecipients: true,
      onDefect: "pass"
    }).on({
      endOfMessage: Effect.fnUntraced(function*(_, { edit }) {
        expect(edit.quarantine).type.toBe<Option.Option<(reason: string) => Effect.Effect<void>>>()
        yield* Option.match(edit.quarantine, {
          onNone: () => edit.addHeader("X-Spam", "yes"),
          onSome: (quarantine) => quarantine("spam")
        })
        return Verdict.continue
      })
    }, { rejectedRecipient: (rejected) => Effect.log(rejected.text) })
    expect(filter).type.toBe<Milter.Made<never, never>>()
  })

  it("both, and all options at once", () => {
    const filter = Milter.make("all", {
      modify: ["addHeader", "insertHeader", "changeHeader", "deleteHeader"],
      modifyIfOffered: ["addRecipient", "addRecipientWithParameters", "deleteRecipient", "changeSender", "replaceBody"],
      macros: { connect: ["j"], mail: ["i", "auth_authen"], endOfMessage: [] },
      rejectedRecipients: false,
      onDefect: Verdict.reject(),
      refuseConnection: true,
      connection: () => Effect.succeed({ a: 1 }),
      message: (mail, { connection, session }) => {
        expect(mail).type.toBe<Stage.Mail>()
        expect(connection).type.toBe<{ a: number }>()
        expect(session).type.toBe<Stage.Session>()
        return Effect.succeed([connection.a])
      }
    }).on({
      endOfMessage: (_, { connection, edit, envelope, message }) => {
        expect(connection).type.toBe<{ a: number }>()
        expect(message).type.toBe<Array<number>>()
        expect(envelope.recipients).type.toBe<ReadonlyArray<Stage.Rcpt>>()
        return Effect.as(
          Effect.andThen(edit.deleteHeader("Subject", 1), Option.getOrThrow(edit.changeSender)("", "RET=HDRS")),
          Verdict.continue
        )
      }
    })
    expect(filter).type.toBe<Milter.Made<never, never>>()
  })
})

describe("illegal uses", () => {
  it("a verdict that is not legal at its stage", () => {
    const make = Milter.make("x")
    // @ts-expect-error!
    make.on({ connect: () => Effect.succeed(Verdict.discardMessage) })
    // @ts-expect-error!
    make.on({ connect: () => Effect.succeed(Verdict.acceptMessage) })
    make.on({
      // @ts-expect-error!
      connect: Effect.fnUntraced(function*(connect) {
        yield* Effect.log(connect.hostname)
        return Verdict.discardMessage
      })
    })
    // @ts-expect-error!
    make.on({ helo: () => Effect.succeed(Verdict.discardMessage) })
    // @ts-expect-error!
    make.on({ mail: () => Effect.succeed(Verdict.acceptConnection) })
    // @ts-expect-error!
    make.on({ rcpt: () => Effect.succeed(Verdict.acceptConnection) })
    // @ts-expect-error!
    make.on({ endOfMessage: () => Effect.succeed(Verdict.acceptConnection) })
    // @ts-expect-error!
    make.on({ unknown: () => Effect.succeed(Verdict.acceptMessage) })
    // @ts-expect-error!
    make.on({ unknown: () => Effect.succeed(Verdict.acceptConnection) })
    // @ts-expect-error!
    make.on({ unknown: () => Effect.succeed(Verdict.discardMessage) })
    // @ts-expect-error!
    make.on({ connect: () => Effect.succeed(Verdict.skipBody) })
    // @ts-expect-error!
    make.on({ rcpt: () => Effect.succeed(Verdict.skipBody) })
    // @ts-expect-error!
    make.on({ header: () => Effect.succeed(Verdict.skipBody) })
    // @ts-expect-error!
    make.on({ endOfHeaders: () => Effect.succeed(Verdict.skipBody) })
    // @ts-expect-error!
    make.on({ endOfMessage: () => Effect.succeed(Verdict.skipBody) })
    // The same at body is fine.
    make.on({ body: () => Effect.succeed(Verdict.skipBody) })
  })

  it("one illegal verdict among legal ones", () => {
    Milter.make("x").on({
      // @ts-expect-error!
      connect: ({ hostname }) => Effect.succeed(hostname === "a" ? Verdict.continue : Verdict.discardMessage)
    })
  })

  it("no verdict, or one from an observer", () => {
    // @ts-expect-error!
    Milter.make("x").on({ mail: () => Effect.void })
    // @ts-expect-error!
    Milter.make("x").on({ mail: () => Verdict.continue })
    // @ts-expect-error!
    Milter.make("x").on({ mail: async () => Verdict.continue })
    // @ts-expect-error!
    Milter.make("x").on({}, { helo: () => Effect.succeed(Verdict.reject()) })
    Milter.make("x").on({}, {
      // @ts-expect-error!
      header: Effect.fnUntraced(function*() {
        yield* Effect.void
        return Verdict.continue
      })
    })
  })

  it("a stage that does not exist, or cannot be answered", () => {
    // @ts-expect-error!
    Milter.make("x").on({ rcptt: () => Effect.succeed(Verdict.continue) })
    // @ts-expect-error!
    Milter.make("x").on({}, { abort: () => Effect.void })
    // @ts-expect-error!
    Milter.make("x", { rejectedRecipients: true }).on({ rejectedRecipient: () => Effect.succeed(Verdict.continue) })
  })

  it("watching refused recipients without asking for them", () => {
    // @ts-expect-error!
    Milter.make("x").on({}, { rejectedRecipient: () => Effect.void })
    // @ts-expect-error!
    Milter.make("x", { modify: ["addHeader"] }).on({}, { rejectedRecipient: () => Effect.void })
    // @ts-expect-error!
    Milter.make("x", { rejectedRecipients: false }).on({}, { rejectedRecipient: () => Effect.void })
  })

  it("message state, envelope and editor where they do not exist", () => {
    const make = Milter.make("x", { message: () => Effect.succeed(1), modify: ["addHeader"] })
    // @ts-expect-error!
    make.on({ connect: (_, { message }) => Effect.as(Effect.log(message), Verdict.continue) })
    // @ts-expect-error!
    make.on({ helo: (_, { message }) => Effect.as(Effect.log(message), Verdict.continue) })
    // @ts-expect-error!
    make.on({ unknown: (_, { message }) => Effect.as(Effect.log(message), Verdict.continue) })
    // @ts-expect-error!
    make.on({}, { connect: (_, { envelope }) => Effect.log(envelope.sender) })
    // @ts-expect-error!
    make.on({ rcpt: (_, { edit }) => Effect.as(edit.addHeader("A", "b"), Verdict.continue) })
    // @ts-expect-error!
    make.on({ body: (_, { edit }) => Effect.as(edit.addHeader("A", "b"), Verdict.continue) })
  })

  it("the editor in an observer", () => {
    Milter.make("x", { modify: ["addHeader"] }).on({}, {
      // @ts-expect-error!
      endOfMessage: (_, { edit }) => edit.addHeader("A", "b")
    })
  })

  it("modifications that were not declared, or only if offered", () => {
    // @ts-expect-error!
    Milter.make("x").on({ endOfMessage: (_, { edit }) => Effect.as(edit.quarantine("x"), Verdict.continue) })
    Milter.make("x", { modify: ["addHeader"] }).on({
      // @ts-expect-error!
      endOfMessage: (_, { edit }) => Effect.as(edit.quarantine("x"), Verdict.continue)
    })
    Milter.make("x", { modifyIfOffered: ["addHeader"] }).on({
      // @ts-expect-error!
      endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("A", "b"), Verdict.continue)
    })
    // @ts-expect-error!
    Milter.make("x", { modify: ["smile"] })
    // @ts-expect-error!
    Milter.make("x", { modifyIfOffered: ["addHeaders"] })
  })

  it("options that do not exist", () => {
    // @ts-expect-error!
    Milter.make("x", { modifies: ["addHeader"] })
    // @ts-expect-error!
    Milter.make("x", { macros: { body: ["i"] } })
    // @ts-expect-error!
    Milter.make("x", { onDefect: Verdict.acceptMessage })
    // @ts-expect-error!
    Milter.make("x", { onDefect: "accept" })
  })

  it("a reply of the wrong class", () => {
    // @ts-expect-error!
    Verdict.reject({ enhanced: "4.7.1", text: "x" })
    // @ts-expect-error!
    Verdict.reject({ code: "450", text: "x" })
    // @ts-expect-error!
    Verdict.tempFail({ enhanced: "5.7.1", text: "x" })
    // @ts-expect-error!
    Verdict.tempFail({ code: "550", text: "x" })
    // @ts-expect-error!
    Verdict.reject({ code: "5xx", text: "x" })
    // @ts-expect-error!
    Verdict.reject({ enhanced: "5.7", text: "x" })
    // @ts-expect-error!
    Verdict.reject({ code: "5.5", text: "x" })
    // @ts-expect-error!
    Verdict.reject({ code: "5123", text: "x" })
    // @ts-expect-error!
    Verdict.reject({ code: "560", text: "x" })
    // @ts-expect-error!
    Verdict.reject({ code: "550", enhanced: "4.7.1", text: "x" })
    // @ts-expect-error!
    Verdict.reject({ enhanced: "5.7.1.1", text: "x" })
    // @ts-expect-error!
    Verdict.tempFail({ enhanced: "4.1e3.1", text: "x" })
    // @ts-expect-error!
    Verdict.reject({ code: "550" })
    Verdict.reject({ code: "550", enhanced: "5.7.1", text: ["two", "lines"] })
    Verdict.tempFail({ code: "421", enhanced: "4.3.2", text: "x" })
    Verdict.reject({ enhanced: "5.7.506", text: "x" })
  })

  it("state of the connection where its builder fails to match", () => {
    Milter.make("x", { connection: () => Effect.succeed({ n: 1 }) }).on({
      // @ts-expect-error!
      mail: (_, { connection }) => Effect.as(Effect.log(connection.m), Verdict.continue)
    })
  })
})

declare const failing: Milter.Made<DnsError | DbError, Dns | Db>
declare const handled: Milter.Made<never, Dns | Db>

describe("onFailure", () => {
  it("empties E and adds the needs of the handler", () => {
    const served = Milter.onFailure(failing, (error, { stage }) => {
      expect(error).type.toBe<DnsError | DbError>()
      expect(stage).type.toBe<Stage.Stage>()
      return Effect.as(Effect.flatMap(Clamav, (clamav) => clamav.scan(new Uint8Array())), Verdict.tempFail())
    })
    expect(served).type.toBe<Milter.Made<never, Dns | Db | Clamav>>()
  })

  it("is piped as well", () => {
    const served = failing.pipe(
      Milter.onFailure((error: DnsError | DbError) =>
        Effect.succeed(error._tag === "DnsError" ? "pass" as const : Verdict.reject())
      )
    )
    expect(served).type.toBe<Milter.Made<never, Dns | Db>>()
    const fixed = failing.pipe(Milter.onFailure(() => Effect.succeed("pass" as const)))
    expect(fixed).type.toBe<Milter.Made<never, Dns | Db>>()
  })

  it("refuses what is no policy, and handlers that fail", () => {
    // @ts-expect-error!
    Milter.onFailure(failing, () => Effect.succeed(Verdict.acceptMessage))
    // @ts-expect-error!
    Milter.onFailure(failing, () => Effect.succeed(Verdict.continue))
    // @ts-expect-error!
    Milter.onFailure(failing, () => Effect.succeed("accept" as const))
    // @ts-expect-error!
    Milter.onFailure(failing, () => Effect.fail("again"))
    // @ts-expect-error!
    failing.pipe(Milter.onFailure((error: DnsError) => Effect.as(Effect.log(error), "pass" as const)))
  })
})

class Greylist extends Milter.Service<Greylist>()("app/Greylist") {
  static readonly layer = Milter.layer(this, handled)
}
class Spf extends Milter.Service<Spf>()("app/Spf") {}

describe("keys", () => {
  it("are filters that need themselves", () => {
    expect(typesOf(Greylist)).type.toBe<Types<never, Greylist>>()
    expect(Greylist).type.toBeAssignableTo<Milter.Filter<never, Greylist>>()
    expect(Greylist).type.not.toBeAssignableTo<Milter.Filter<never, never>>()
    expect(Greylist.key).type.toBe<"app/Greylist">()
  })

  it("are Context keys of a filter that needs nothing", () => {
    expect(Effect.gen(function*() {
      return yield* Greylist
    })).type.toBe<Effect.Effect<Milter.Filter<never, never>, never, Greylist>>()
  })

  it("differ from each other", () => {
    expect(MilterServer.layer(Greylist)).type.toBe<Layer.Layer<never, never, Greylist | MilterServer.Listener>>()
    expect(MilterServer.layer(Spf)).type.toBe<Layer.Layer<never, never, Spf | MilterServer.Listener>>()
    expect(MilterServer.layer(Spf).pipe(Layer.provide(Greylist.layer))).type.toBe<
      Layer.Layer<never, never, Spf | Dns | Db | MilterServer.Listener>
    >()
  })

  it("stand in sequences beside values", () => {
    expect(typesOf(Milter.sequence([Greylist, Spf, handled]))).type.toBe<Types<never, Greylist | Spf | Dns | Db>>()
    expect(typesOf(Milter.sequence([Greylist, failing]))).type.toBe<Types<DnsError | DbError, Greylist | Dns | Db>>()
    expect(typesOf(Milter.sequence([Milter.sequence([Greylist]), Spf]))).type.toBe<Types<never, Greylist | Spf>>()
    // Made where it stands: nothing is inferred from there.
    expect(typesOf(Milter.sequence([Spf, Milter.make("a").on({ mail: () => Effect.fail("down") })]))).type.toBe<
      Types<string, Spf>
    >()
    expect(Milter.sequence([Milter.make("a").on({})])).type.toBe<Milter.Made<never, never>>()
    // @ts-expect-error!
    Milter.sequence([Greylist, Dns])
    expect(MilterServer.layer(Milter.sequence([Greylist, Spf, handled]))).type.toBe<
      Layer.Layer<never, never, Greylist | Spf | Dns | Db | MilterServer.Listener>
    >()
  })
})

describe("layer", () => {
  it("provides a key and needs what its filter needs", () => {
    expect(Milter.layer(Greylist, handled)).type.toBe<Layer.Layer<Greylist, never, Dns | Db>>()
    expect(Greylist.layer).type.toBe<Layer.Layer<Greylist, never, Dns | Db>>()
    expect(Milter.layer(Spf, Greylist)).type.toBe<Layer.Layer<Spf, never, Greylist>>()
  })

  it("refuses failures that are not handled, and keys of something else", () => {
    // @ts-expect-error!
    Milter.layer(Greylist, failing)
    // @ts-expect-error!
    Milter.layer(Dns, handled)
  })
})

describe("MilterServer.layer", () => {
  it("serves filters whose failures are handled", () => {
    expect(MilterServer.layer(handled)).type.toBe<Layer.Layer<never, never, Dns | Db | MilterServer.Listener>>()
    expect(MilterServer.layer(Milter.make("x").on({}))).type.toBe<Layer.Layer<never, never, MilterServer.Listener>>()
    expect(MilterServer.layer(handled, { maxFrameLength: 65536 })).type.toBe<
      Layer.Layer<never, never, Dns | Db | MilterServer.Listener>
    >()
    // @ts-expect-error!
    MilterServer.layer(failing)
    // @ts-expect-error!
    MilterServer.layer(Milter.sequence([Greylist, failing]))
  })

  it("names what is missing", () => {
    const launch = <E>(layer: Layer.Layer<never, E>) => layer
    const listening = {} as Layer.Layer<MilterServer.Listener>
    // @ts-expect-error Type 'Greylist' is not assignable to type 'never'
    launch(MilterServer.layer(Greylist).pipe(Layer.provide(listening)))
  })
})

describe("guards and outcomes", () => {
  it("narrow and unpack", () => {
    expect(Milter.outcome).type.toBeCallableWith(Effect.runSyncExit(Effect.void))
    expect(Milter.outcome(Effect.runSyncExit(Effect.void))).type.toBe<Option.Option<Stage.Outcome>>()
    const u: unknown = handled
    if (Milter.isFilter(u)) expect(u).type.toBe<Milter.Filter<unknown, unknown>>()
  })
})
