/** What a program prints to a stream of its own process. */

/** Keeps what is written until the result is called, which returns it; `look` sees all of it after each write. */
export const captured = (stream: NodeJS.WriteStream, look: (text: string) => unknown = () => undefined) => {
  const write = stream.write.bind(stream)
  let text = ""
  stream.write = (chunk: string | Uint8Array): boolean => {
    text += String(chunk)
    look(text)
    return true
  }
  return () => {
    stream.write = write
    return text
  }
}
