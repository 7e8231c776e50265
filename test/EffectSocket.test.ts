/** EffectSocket: servers and clients on the sockets of Effect. */
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Queue, Scope } from "effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Socket from "effect/socket/Socket"
import * as SocketServer from "effect/socket/SocketServer"
import { TestClock } from "effect/testing"
import * as EffectSocket from "../src/EffectSocket.ts"
import * as Milter from "../src/Milter.ts"
import * as MilterClient from "../src/MilterClient.ts"
import * as MilterServer from "../src/MilterServer.ts"
import { NodeMilterClient } from "../src/node/index.ts"
import * as Verdict from "../src/Verdict.ts"
import { ByteString } from "../src/Wire.ts"

const message: MilterClient.Message = {
  from: "alice@example.org",
  to: "bob@example.net",
  headers: [["Subject", "hello"]],
  body: "Hello\n"
}

const large = new Uint8Array(3_000_000).fill(120)

const Replacing = Milter.make("replacing", { modify: ["replaceBody", "addHeader"] }).on({
  endOfMessage: Effect.fnUntraced(function*(_, { edit }) {
    yield* edit.addHeader("X-Checked", "yes")
    yield* edit.replaceBody(large)
    return Verdict.continue
  })
}, { body: () => Effect.yieldNow })

const address = Effect.map(MilterServer.Listener, ({ addresses }) => addresses[0]!)

describe("EffectSocket", () => {
  describe("on a server of platform-node", () => {
    const serve = <R>(filter: Milter.Filter<never, R>, listen: Parameters<typeof NodeSocketServer.layer>[0]) =>
      MilterServer.layer(filter).pipe(
        Layer.provideMerge(EffectSocket.layer),
        Layer.provide(NodeSocketServer.layer({ noDelay: true, ...listen })),
        Layer.provideMerge(NodeMilterClient.layer)
      )

    it.live("serves messages, large ones too, several at a time", () =>
      Effect.gen(function*() {
        const at = yield* address
        assert.match(at, /^inet:\d+@127\.0\.0\.1$/)
        const send = Effect.scoped(Effect.gen(function*() {
          const mta = yield* MilterClient.dial(at)
          const outcome = yield* mta.sendMessage({ ...message, body: large })
          yield* mta.quit()
          return outcome
        }))
        for (const outcome of yield* Effect.all([send, send, send], { concurrency: "unbounded" })) {
          assert.strictEqual(outcome._tag, "Accepted")
          assert.strictEqual(outcome.delivered?.body.length, large.length + 2)
          assert.deepStrictEqual(outcome.modifications[0], {
            _tag: "AddHeader",
            name: ByteString.fromText("X-Checked"),
            value: ByteString.fromText(" yes")
          })
        }
      }).pipe(Effect.provide(serve(Replacing, { port: 0, host: "127.0.0.1" }))))

    it.live("listens on IPv6 and UNIX sockets", () =>
      Effect.gen(function*() {
        for (const listen of [{ port: 0, host: "::1" }, { path: "\0effect-milter-test" }]) {
          yield* Effect.provide(
            Effect.gen(function*() {
              const at = yield* address
              if ("path" in listen) return assert.strictEqual(at, "unix:\0effect-milter-test")
              assert.match(at, /^inet6:\d+@\[::1\]$/)
              const outcome = yield* Effect.flatMap(MilterClient.dial(at), (mta) => mta.sendMessage(message))
              assert.strictEqual(outcome._tag, "Accepted")
            }).pipe(Effect.scoped),
            serve(Replacing, listen)
          )
        }
      }))

    it.live("a disconnect interrupts a hook", () =>
      Effect.gen(function*() {
        const begun = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<string>()
        const Hanging = Milter.make("hanging").on({
          mail: () =>
            Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
              Effect.onExit((exit) => Deferred.succeed(ended, Exit.hasInterrupts(exit) ? "interrupted" : exit._tag))
            )
        })
        yield* Effect.provide(
          Effect.gen(function*() {
            const at = yield* address
            const fiber = yield* Effect.forkChild(Effect.scoped(Effect.gen(function*() {
              const mta = yield* MilterClient.dial(at)
              yield* mta.negotiate()
              yield* mta.mail("<alice@example.org>")
            })))
            yield* Deferred.await(begun)
            yield* Fiber.interrupt(fiber)
            assert.strictEqual(yield* Deferred.await(ended), "interrupted")
          }),
          serve(Hanging, { port: 0, host: "127.0.0.1" })
        )
      }))

    it.live("nonsense closes the connection, not the server", () =>
      Effect.gen(function*() {
        const at = yield* address
        const broken = yield* MilterClient.dial(at)
        yield* broken.negotiate()
        // Nobody may negotiate twice.
        assert.strictEqual((yield* Effect.flip(broken.negotiate())).reason._tag, "Closed")
        const mta = yield* MilterClient.dial(at)
        assert.strictEqual((yield* mta.sendMessage(message))._tag, "Accepted")
      }).pipe(Effect.scoped, Effect.provide(serve(Replacing, { port: 0, host: "127.0.0.1" }))))
  })

  describe("in memory", () => {
    const closed = (code: number) => new Socket.SocketError({ reason: new Socket.SocketCloseError({ code }) })

    /** Two ends of a socket. */
    const makePair = Effect.gen(function*() {
      const left = yield* Queue.unbounded<Uint8Array | string, Socket.SocketError>()
      const right = yield* Queue.unbounded<Uint8Array | string, Socket.SocketError>()
      const end = (input: typeof left, output: typeof left) =>
        Socket.make({
          reader: Effect.acquireRelease(
            Effect.succeed({
              pull: Queue.takeAll(input) as Socket.Reader["pull"], // never empty
              upgrade: Socket.SocketUpgradeError.unsupported
            }),
            () => Queue.fail(input, closed(1006))
          ),
          writer: Effect.acquireRelease(
            Effect.succeed<Socket.Writer>({
              write: (chunk) =>
                Socket.isCloseEvent(chunk)
                  ? Effect.asVoid(Queue.fail(output, closed(chunk.code)))
                  : Effect.asVoid(Queue.offer(output, chunk)),
              writeAll: (chunks) => Effect.asVoid(Queue.offerAll(output, chunks))
            }),
            () => Queue.fail(output, closed(1000))
          )
        })
      return [end(left, right), end(right, left)] as const
    })

    const network = Effect.map(makePair, ([mta, filter]) =>
      Context.make(Socket.Socket, mta).pipe(
        Context.add(SocketServer.SocketServer, {
          address: NetAddress.unixPathAddress("/memory"),
          run: <R, E, A>(handler: (socket: Socket.Socket) => Effect.Effect<A, E, R>) =>
            Effect.andThen(Effect.orDie(handler(filter)), Effect.never)
        })
      ))

    it.effect("serves and dials the sockets of an application", () =>
      Effect.gen(function*() {
        const outcome = yield* Effect.gen(function*() {
          assert.strictEqual(yield* address, "unix:/memory")
          const mta = yield* MilterClient.dial("the socket")
          const outcome = yield* mta.sendMessage({ ...message, body: large })
          yield* mta.quit()
          yield* mta.closed
          return outcome
        }).pipe(
          Effect.scoped,
          Effect.provide(
            MilterServer.layer(Replacing).pipe(
              Layer.provideMerge(EffectSocket.layer),
              Layer.provideMerge(EffectSocket.layerClient),
              Layer.provide(Layer.effectContext(network))
            )
          )
        )
        assert.strictEqual(outcome._tag, "Accepted")
        assert.strictEqual(outcome.delivered?.body.length, large.length + 2)
      }))

    it.effect("the end of the server ends its sessions", () =>
      Effect.gen(function*() {
        const context = yield* network
        const scope = yield* Scope.make()
        yield* MilterServer.layer(Replacing, { drainTimeout: "1 second" }).pipe(
          Layer.provide(EffectSocket.layer),
          Layer.provide(Layer.succeedContext(context)),
          Layer.buildWithScope(scope)
        )
        const mta = yield* MilterClient.dial("the socket").pipe(
          Effect.provide(Layer.provide(EffectSocket.layerClient, Layer.succeedContext(context)))
        )
        yield* mta.negotiate()
        yield* Effect.forkChild(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("1 second")
        yield* mta.closed
        assert.strictEqual((yield* Effect.flip(mta.mail("<a@example.org>"))).reason._tag, "Closed")
      }))

    it.effect("nobody at the other end", () =>
      Effect.gen(function*() {
        const refused = new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause: "no" }) })
        const socket = Socket.make({ reader: Effect.fail(refused), writer: Effect.never })
        const error = yield* Effect.flip(MilterClient.dial("the socket")).pipe(
          Effect.provide(Layer.provide(EffectSocket.layerClient, Layer.succeed(Socket.Socket, socket)))
        )
        assert.strictEqual(error.reason._tag, "Unreachable")
      }))
  })
})
