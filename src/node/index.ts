/**
 * Everything that needs Node.
 *
 * @since 0.1.0
 */

/**
 * Listening on TCP and UNIX sockets.
 *
 * @since 0.1.0
 */
export * as NodeMilterServer from "./NodeMilterServer.ts"
