/** What a transport does with a socket of Node: the last bytes, the order of its events, what it lets go. */
import { afterEach, assert, describe, it } from "@effect/vitest"
import { once } from "node:events"
import * as Net from "node:net"
import type { Handlers } from "../../src/internal/net/transport.ts"
import { NetTransport } from "../../src/node/internal/netTransport.ts"

const open: Array<{ readonly destroy: () => unknown } | Net.Server> = []

afterEach(() => {
  for (const one of open.splice(0)) {
    if (one instanceof Net.Server) one.close()
    else one.destroy()
  }
})

/** Both ends of a connection. The peer does not close its side by itself, and is not read yet. */
const connected = async (): Promise<{ readonly socket: Net.Socket; readonly peer: Net.Socket }> => {
  const server = Net.createServer().listen(0, "127.0.0.1")
  open.push(server)
  await once(server, "listening")
  const { port } = server.address() as Net.AddressInfo
  const accepted = once(server, "connection")
  const peer = Net.connect({ port, host: "127.0.0.1", allowHalfOpen: true })
  const [socket] = await accepted as [Net.Socket]
  await once(peer, "connect")
  open.push(socket, peer)
  return { socket, peer }
}

/** A transport that notes what happens; `closed` resolves when it is closed. */
const noted = (
  socket: Net.Socket
): { readonly transport: NetTransport; readonly events: Array<string>; readonly closed: Promise<void> } => {
  const events: Array<string> = []
  const transport = new NetTransport(socket, false, () => events.push("onClosed"))
  const closed = new Promise<void>((resolve) => {
    const handlers: Handlers = {
      data: (chunk) => events.push(`data ${Buffer.from(chunk).toString()}`),
      end: () => events.push("end"),
      drain: () => events.push("drain"),
      closed: () => {
        events.push("closed")
        resolve()
      }
    }
    transport.open(handlers)
  })
  return { transport, events, closed }
}

const readAll = async (peer: Net.Socket): Promise<number> => {
  let bytes = 0
  peer.on("data", (chunk: Buffer) => {
    bytes += chunk.length
  })
  await once(peer, "end")
  return bytes
}

describe("a transport on a socket", () => {
  it("sends what the kernel has taken before it closes", async () => {
    const { peer, socket } = await connected()
    const { closed, events, transport } = noted(socket)
    assert.isTrue(transport.write(Buffer.alloc(1000)))
    assert.strictEqual(socket.writableLength, 0)
    transport.close()
    await closed
    assert.deepStrictEqual(events, ["onClosed", "closed"])
    assert.strictEqual(await readAll(peer), 1000)
  })

  it("sends what the kernel has not taken yet before it closes, and tells when there is room", async () => {
    const { peer, socket } = await connected()
    const { closed, events, transport } = noted(socket)
    const size = 32 * 1024 * 1024
    assert.isFalse(transport.write(Buffer.alloc(size)))
    assert.isFalse(transport.write(Buffer.alloc(1)))
    assert.isAbove(socket.writableLength, 0)
    transport.close()
    const [bytes] = await Promise.all([readAll(peer), closed])
    assert.strictEqual(bytes, size + 1)
    assert.deepStrictEqual(events.slice(-2), ["onClosed", "closed"])
  })

  it("tells each time that there is room again, once", async () => {
    const { peer, socket } = await connected()
    const { events, transport } = noted(socket)
    peer.resume()
    for (const time of [1, 2, 3]) {
      assert.isFalse(transport.write(Buffer.alloc(8 * 1024 * 1024)))
      await once(socket, "drain")
      assert.deepStrictEqual(events, Array.from({ length: time }, () => "drain"))
    }
  })

  it("closes after a peer that has closed its side", async () => {
    const { peer, socket } = await connected()
    const { closed, events, transport } = noted(socket)
    peer.end("last words")
    await once(socket, "end")
    transport.close()
    await Promise.all([closed, readAll(peer)])
    assert.deepStrictEqual(events, ["data last words", "end", "onClosed", "closed"])
  })

  it("tells of a socket that closes before it is opened, and after that", async () => {
    for (const hasClosed of [true, false]) {
      const { socket } = await connected()
      const events: Array<string> = []
      const transport = new NetTransport(socket, false, () => events.push("onClosed"))
      transport.destroy()
      if (hasClosed) await once(socket, "close")
      await new Promise<void>((resolve) => {
        const unexpected = (): void => void events.push("unexpected")
        transport.open({
          data: unexpected,
          end: unexpected,
          drain: unexpected,
          closed: () => {
            events.push("closed")
            resolve()
          }
        })
        assert.notInclude(events, "closed")
      })
      assert.deepStrictEqual(events, ["onClosed", "closed"])
    }
  })

  it("leaves nothing of a session on a socket that has closed", async () => {
    const { socket } = await connected()
    const { closed, transport } = noted(socket)
    const values = (): ReadonlyArray<unknown> => Reflect.ownKeys(socket).map((key) => socket[key as keyof Net.Socket])
    assert.include(values(), transport)
    transport.destroy()
    await closed
    assert.notInclude(values(), transport)
  })
})
