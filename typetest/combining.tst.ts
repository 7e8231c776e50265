// What must not compile is shown to the compiler, and Effect's own diagnostics would see it as well.
// @effect-diagnostics missingEffectError:off missingLayerContext:off
import * as Milter from "effect-milter/Milter"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterServer from "effect-milter/MilterServer"
import type * as Stage from "effect-milter/Stage"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { describe, expect, it } from "tstyche"

class Db extends Context.Service<Db, { readonly has: (name: string) => Effect.Effect<boolean> }>()("Db") {}
class Ldap extends Context.Service<Ldap, { readonly knows: (name: string) => Effect.Effect<boolean, LdapError> }>()(
  "Ldap"
) {}
class LdapError extends Data.TaggedError("LdapError")<{}> {}

declare const failing: Milter.Made<LdapError, Ldap>
declare const handled: Milter.Made<never, Ldap>

class Greylist extends Milter.Service<Greylist>()("app/Greylist") {}
class Spf extends Milter.Service<Spf>()("app/Spf") {}

const known = (name: string) => Effect.flatMap(Db, (db) => db.has(name))

describe("remote", () => {
  const remote = Milter.remote("other", { to: "inet:1", modify: ["addHeader"], stages: ["mail", "rejectedRecipient"] })

  it("needs a dialer, and fails with one error", () => {
    expect(remote).type.toBe<Milter.Made<Milter.RemoteError, MilterClient.Dialer>>()
    const handled = Milter.onFailure(remote, ({ kind }) => {
      expect(kind).type.toBe<"unreachable" | "negotiation" | "protocol" | "timeout" | "closed">()
      return Effect.succeed("pass")
    })
    expect(handled).type.toBe<Milter.Made<never, MilterClient.Dialer>>()
    expect(MilterServer.layer(Milter.sequence([Greylist, handled]))).type.toBe<
      Layer.Layer<never, never, Greylist | MilterClient.Dialer | MilterServer.Listener>
    >()
    expect(Milter.shadow(remote)).type.toBe<Milter.Made<never, MilterClient.Dialer>>()
    expect(Milter.when(remote, { mail: () => true })).type.toBe<
      Milter.Made<Milter.RemoteError, MilterClient.Dialer>
    >()
  })

  it("is not served before its failures are handled", () => {
    // @ts-expect-error!
    MilterServer.layer(remote)
    // @ts-expect-error!
    Milter.remote("other", { to: "inet:1" })
    // @ts-expect-error!
    Milter.remote("other", { to: "inet:1", modify: ["addHeaders"] })
  })
})

describe("sequence", () => {
  it("unites failures and needs, of keys and values alike", () => {
    expect(Milter.sequence([Greylist, Spf, handled])).type.toBe<Milter.Made<never, Greylist | Spf | Ldap>>()
    expect(Milter.sequence([Greylist, failing])).type.toBe<Milter.Made<LdapError, Greylist | Ldap>>()
    expect(Milter.sequence([Milter.sequence([Greylist]), Spf])).type.toBe<Milter.Made<never, Greylist | Spf>>()
    expect(Milter.sequence([])).type.toBe<Milter.Made<never, never>>()
    const list: ReadonlyArray<Milter.Filter<never, Db>> = []
    expect(Milter.sequence(list)).type.toBe<Milter.Made<never, Db>>()
  })

  it("takes filters only", () => {
    // @ts-expect-error!
    Milter.sequence([Greylist, Db])
    // @ts-expect-error!
    Milter.sequence(Greylist, Spf)
  })

  it("is served once the failures of all are handled", () => {
    expect(MilterServer.layer(Milter.sequence([Greylist, handled]))).type.toBe<
      Layer.Layer<never, never, Greylist | Ldap | MilterServer.Listener>
    >()
    // @ts-expect-error!
    MilterServer.layer(Milter.sequence([Greylist, failing]))
    const policy = Milter.onFailure(Milter.sequence([Greylist, failing]), (error) => {
      expect(error).type.toBe<LdapError>()
      return Effect.succeed("pass")
    })
    expect(policy).type.toBe<Milter.Made<never, Greylist | Ldap>>()
  })
})

declare const listener: Layer.Layer<MilterServer.Listener>

describe("a missing layer", () => {
  const launch = <E>(layer: Layer.Layer<never, E>) => layer
  const greylist = Milter.layer(Greylist, Milter.make("greylist").on({}))
  const spf = Milter.layer(Spf, Milter.make("spf").on({}))
  const server = MilterServer.layer(Milter.sequence([Greylist, Spf]))

  it("is named by the compiler", () => {
    // @ts-expect-error Type 'Spf' is not assignable to type 'never'
    launch(server.pipe(Layer.provide(greylist), Layer.provide(listener)))
    // @ts-expect-error Type 'Greylist' is not assignable to type 'never'
    launch(server.pipe(Layer.provide(spf), Layer.provide(listener)))
    // @ts-expect-error Type 'Listener' is not assignable to type 'never'
    launch(server.pipe(Layer.provide(Layer.mergeAll(greylist, spf))))
    // @ts-expect-error Type 'Greylist | Spf' is not assignable to type 'never'
    launch(server.pipe(Layer.provide(listener)))
  })

  it("and nothing is said when all are there", () => {
    launch(server.pipe(Layer.provide([greylist, spf, listener])))
  })
})

describe("when", () => {
  it("shows the event of its stage and the session, and takes a boolean", () => {
    const atConnect = Milter.when(failing, {
      connect: (connect, at) => {
        expect(connect).type.toBe<Stage.Connect>()
        expect(at).type.toBe<{ readonly session: Stage.Session }>()
        return connect.client.isWithin("10.0.0.0/8")
      }
    })
    expect(atConnect).type.toBe<Milter.Made<LdapError, Ldap>>()
    const atHelo = Milter.when(failing, {
      helo: (helo) => {
        expect(helo).type.toBe<Stage.Helo>()
        return true
      }
    })
    expect(atHelo).type.toBe<Milter.Made<LdapError, Ldap>>()
  })

  it("takes an effect, whose needs it adds", () => {
    expect(Milter.when(failing, { mail: ({ sender }) => known(sender.domain) })).type.toBe<
      Milter.Made<LdapError, Ldap | Db>
    >()
    expect(failing.pipe(Milter.when({ helo: ({ name }) => known(name) }))).type.toBe<
      Milter.Made<LdapError, Ldap | Db>
    >()
    const generated = Milter.when(handled, {
      mail: Effect.fnUntraced(function*({ sender }, { session }) {
        expect(sender.domain).type.toBe<string>()
        expect(session).type.toBe<Stage.Session>()
        return session.heloName !== "x" && (yield* known(sender.domain))
      })
    })
    expect(generated).type.toBe<Milter.Made<never, Ldap | Db>>()
    expect(handled.pipe(Milter.when({ connect: () => false }))).type.toBe<Milter.Made<never, Ldap>>()
    expect(Milter.when(Greylist, { mail: ({ sender }) => sender.isNull || known(sender.domain) })).type.toBe<
      Milter.Made<never, Greylist | Db>
    >()
  })

  it("takes a condition that is named", () => {
    const authenticated: Milter.Condition = {
      mail: (_, { session }) => session.macros.get("auth_authen") !== undefined
    }
    expect(Milter.when(handled, authenticated)).type.toBe<Milter.Made<never, Ldap>>()
    expect(handled.pipe(Milter.when(authenticated))).type.toBe<Milter.Made<never, Ldap>>()
    const listed: Milter.Condition<Db> = { helo: ({ name }) => known(name) }
    expect(Milter.when(handled, listed)).type.toBe<Milter.Made<never, Ldap | Db>>()
  })

  it("shows recipients with the envelope so far", () => {
    const atRcpt = Milter.when(failing, {
      rcpt: (rcpt, at) => {
        expect(rcpt).type.toBe<Stage.Rcpt>()
        expect(at).type.toBe<{ readonly session: Stage.Session; readonly envelope: Stage.Envelope }>()
        return known(rcpt.recipient.domain)
      },
      recipients: "each",
      mixed: "separate"
    })
    expect(atRcpt).type.toBe<Milter.Made<LdapError, Ldap | Db>>()
    const atData = failing.pipe(Milter.when({
      data: (_, { envelope }) => {
        expect(envelope).type.toBe<Stage.Envelope>()
        return envelope.recipients.length > 1
      },
      mixed: "skip"
    }))
    expect(atData).type.toBe<Milter.Made<LdapError, Ldap>>()
    const named: Milter.Condition = { rcpt: () => true, recipients: "any" }
    expect(Milter.when(handled, named)).type.toBe<Milter.Made<never, Ldap>>()
  })

  it("has the options of its stage only", () => {
    // @ts-expect-error!
    Milter.when(handled, { rcpt: () => true, recipients: "all" })
    // @ts-expect-error!
    Milter.when(handled, { rcpt: () => true, recipients: "any", mixed: "skip" })
    // @ts-expect-error!
    Milter.when(handled, { data: () => true, mixed: "separate" })
    // @ts-expect-error!
    Milter.when(handled, { data: () => true, recipients: "any" })
    // @ts-expect-error!
    Milter.when(handled, { mail: () => true, mixed: "apply" })
  })

  it("has one condition, at one stage, that does not fail", () => {
    // @ts-expect-error!
    Milter.when(handled, {})
    // @ts-expect-error!
    Milter.when(handled, { connect: () => true, mail: () => true })
    // @ts-expect-error!
    Milter.when(handled, { rcpt: () => true })
    // @ts-expect-error!
    Milter.when(handled, { mail: () => "yes" })
    // @ts-expect-error!
    Milter.when(handled, { mail: () => new LdapError() })
    // @ts-expect-error!
    Milter.when(handled, { mail: () => Effect.succeed(Verdict.continue) })
    // @ts-expect-error!
    Milter.when(handled, true)
    // @ts-expect-error!
    Milter.when(Db, { mail: () => true })
  })
})

describe("shadow", () => {
  it("needs what the filter needs and does not fail", () => {
    expect(Milter.shadow(failing)).type.toBe<Milter.Made<never, Ldap>>()
    expect(failing.pipe(Milter.shadow)).type.toBe<Milter.Made<never, Ldap>>()
    expect(Milter.shadow(Greylist)).type.toBe<Milter.Made<never, Greylist>>()
    expect(MilterServer.layer(Milter.shadow(failing))).type.toBe<
      Layer.Layer<never, never, Ldap | MilterServer.Listener>
    >()
  })

  it("is of a filter", () => {
    // @ts-expect-error!
    Milter.shadow(Db)
  })
})

describe("delayReject", () => {
  it("keeps failures and needs, and adds those of the exception", () => {
    expect(Milter.delayReject(failing, { at: "rcpt" })).type.toBe<Milter.Made<LdapError, Ldap>>()
    expect(failing.pipe(Milter.delayReject({ at: "rcpt" }))).type.toBe<Milter.Made<LdapError, Ldap>>()
    const except = Milter.delayReject(failing, {
      at: "rcpt",
      except: (rcpt, at) => {
        expect(rcpt).type.toBe<Stage.Rcpt>()
        expect(at).type.toBe<{ readonly session: Stage.Session; readonly envelope: Stage.Envelope }>()
        return known(rcpt.recipient.address)
      }
    })
    expect(except).type.toBe<Milter.Made<LdapError, Ldap | Db>>()
    expect(failing.pipe(Milter.delayReject({ at: "rcpt", except: ({ recipient }) => recipient.isNull }))).type.toBe<
      Milter.Made<LdapError, Ldap>
    >()
  })

  it("delays to rcpt, and its exception does not fail", () => {
    // @ts-expect-error!
    Milter.delayReject(handled, {})
    // @ts-expect-error!
    Milter.delayReject(handled, { at: "data" })
    // @ts-expect-error!
    Milter.delayReject(handled, { at: "rcpt", except: () => new LdapError() })
    // @ts-expect-error!
    Milter.delayReject(handled, { at: "rcpt", except: "postmaster" })
  })
})

describe("together", () => {
  it("they can be piped", () => {
    const filter = failing.pipe(
      Milter.delayReject({ at: "rcpt" }),
      Milter.when({ mail: ({ sender }) => known(sender.domain) }),
      Milter.onFailure((error: LdapError) => Effect.as(Effect.log(error), "pass" as const))
    )
    expect(filter).type.toBe<Milter.Made<never, Ldap | Db>>()
    expect(Milter.layer(Greylist, filter)).type.toBe<Layer.Layer<Greylist, never, Ldap | Db>>()
  })
})
