/** The parts of a message as postal-mime reads them, which shares nothing with the code under test. */
import PostalMime from "postal-mime"

export interface Leaf {
  readonly type: string
  readonly charset: string
  /** Decoded, one character a byte. */
  readonly content: string
}

interface Node {
  readonly childNodes: ReadonlyArray<Node>
  readonly contentType: {
    readonly multipart: string | false
    readonly parsed: { readonly value: string; readonly params: { readonly [name: string]: string } }
  }
  readonly content: ArrayBuffer | null
}

/** Undefined if it gives up. */
export const leavesOf = async (source: string): Promise<ReadonlyArray<Leaf> | undefined> => {
  const parser = new PostalMime({ forceRfc822Attachments: true, maxNestingDepth: 300 })
  try {
    await parser.parse(Buffer.from(source, "latin1"))
  } catch {
    return undefined
  }
  // A cast: its types hide the tree, of which all it gives is made.
  const { root } = parser as unknown as { readonly root: Node }
  const leaves = (node: Node): ReadonlyArray<Leaf> =>
    node.contentType.multipart === false
      ? [{
        type: node.contentType.parsed.value.toLowerCase(),
        charset: node.contentType.parsed.params["charset"] ?? "",
        content: Buffer.from(node.content ?? new ArrayBuffer(0)).toString("latin1")
      }]
      : node.childNodes.flatMap(leaves)
  return leaves(root)
}

/** Its text, whatever stands for a line end. */
export const textOf = ({ charset, content }: Leaf): string =>
  decoderOf(charset).decode(Buffer.from(content, "latin1")).replaceAll("\r\n", "\n")

const decoderOf = (charset: string) => {
  try {
    return new TextDecoder(charset === "" ? "utf-8" : charset)
  } catch {
    return new TextDecoder("utf-8")
  }
}
