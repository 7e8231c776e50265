import { Context, Effect, Layer } from "effect"
import * as Auth from "effect-milter/auth"
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import * as Verdict from "effect-milter/Verdict"
import { describe, expect, it } from "tstyche"

class Users extends Context.Service<Users, { readonly has: (name: string) => Effect.Effect<boolean> }>()("Users") {}

class Broken {
  readonly _tag = "Broken"
}

const authservId = "mx.example.org"
const known = () => Effect.flatMap(Users, ({ has }) => has("alice"))

/** Exactly E and R of a filter, whatever other properties it has. */
declare const typesOf: <E, R>(filter: Milter.Filter<E, R>) => { readonly e: E; readonly r: R }
interface Types<E, R> {
  readonly e: E
  readonly r: R
}

describe("filters of authentication", () => {
  it("need DNS or keys, and do not fail", () => {
    expect(typesOf(Auth.verify({ authservId }))).type.toBe<Types<never, Auth.Dns>>()
    expect(typesOf(Auth.sign())).type.toBe<Types<never, Auth.Keys>>()
    expect(typesOf(Auth.seal({ authservId, domain: "example.org" }))).type.toBe<Types<never, Auth.Keys>>()
  })

  it("keep that in a sequence", () => {
    expect(
      typesOf(Milter.sequence([
        Auth.verify({ authservId }),
        Auth.sign(),
        Auth.seal({ authservId, domain: "example.org" })
      ]))
    ).type.toBe<Types<never, Auth.Dns | Auth.Keys>>()
  })

  it("need what their options need, and fail as these do", () => {
    const verify = Auth.verify({ authservId, skip: known, onResult: () => Effect.fail(new Broken()) })
    expect(typesOf(verify)).type.toBeAssignableTo<Types<Broken, Users | Auth.Dns>>()
    expect(typesOf(verify)).type.not.toBeAssignableTo<Types<never, Users | Auth.Dns>>()
    expect(typesOf(verify)).type.not.toBeAssignableTo<Types<Broken, Auth.Dns>>()
    const sign = Auth.sign({ when: known, onUnsigned: () => Effect.as(known(), Verdict.continue) })
    expect(typesOf(sign)).type.toBeAssignableTo<Types<never, Users | Auth.Keys>>()
    expect(typesOf(sign)).type.not.toBeAssignableTo<Types<never, Auth.Keys>>()
    expect(
      MilterServer.layer(sign).pipe(
        Layer.provide(Layer.succeed(Users, { has: () => Effect.succeed(true) })),
        Layer.provide(Auth.Keys.layer([]))
      )
    ).type.toBe<Layer.Layer<never, Auth.KeyError, MilterServer.Listener>>()
  })

  it("decide what is legal at end of message", () => {
    expect(Auth.verify).type.toBeCallableWith({ authservId, onResult: Auth.enforceDmarc })
    expect(Auth.verify).type.toBeCallableWith({ authservId, onResult: () => Effect.succeed(Auth.quarantine("spam")) })
    expect(Auth.verify).type.not.toBeCallableWith({ authservId, onResult: () => Effect.succeed(Verdict.skipBody) })
    expect(Auth.verify).type.not.toBeCallableWith({})
  })
})
