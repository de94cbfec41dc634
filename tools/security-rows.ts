/**
 * What attackers, peers and accidents did to homeservers, each with an id. Tests that hold one off begin with its id. A row
 * with `later` waits for a feature that is not there yet, and so has nothing to attack.
 */
export interface SecurityRow {
  readonly id: string;
  readonly title: string;
  readonly later?: string;
}

const E2EE = 'end-to-end encryption';
const OAUTH = 'OAuth 2.0 and single sign-on';
const SLIDING = 'sliding sync';
const EMAIL = 'e-mail addresses';
const APPSERVICES = 'application services';

export const SECURITY_ROWS: readonly { readonly chapter: string; readonly rows: readonly SecurityRow[] }[] = [
  {
    chapter: 'Forged events',
    rows: [
      { id: 'A1', title: 'a peer has an event of its own making signed by way of an invite' },
      { id: 'A2', title: 'a resident server has its template of a join, leave or knock signed as it is' },
      {
        id: 'A3',
        title: 'the answer to a join or knock carries events that are not of the room, unsigned or no state',
      },
      { id: 'A4', title: 'path and body name different rooms or events' },
      { id: 'A5', title: 'an event is believed for who relays it, or comes from a server that the room denies' },
      { id: 'A6', title: 'a way by which events come in does not check signatures' },
      { id: 'A7', title: 'missing events are taken as they are given' },
      { id: 'A8', title: 'power levels are read in another way than elsewhere' },
      { id: 'A9', title: 'a numbered auth rule is not applied' },
      { id: 'A10', title: 'a rejected event comes back as state that a peer tells of' },
      { id: 'A11', title: 'auth events are those of another room' },
      { id: 'A12', title: 'a redaction takes the create event, or one of another room, or itself' },
      { id: 'A13', title: 'a user redacts what others of the same server wrote' },
      { id: 'A14', title: 'a server joins or parts users who are not its own' },
      { id: 'A15', title: 'ephemeral data of users of other servers, or of rooms that they are not in' },
      { id: 'A16', title: 'keys that have expired still prove requests and events' },
      { id: 'A17', title: 'a signing key that everybody knows' },
      { id: 'A18', title: 'a depth that nobody can write as JSON any more' },
      { id: 'A19', title: 'numbers that are none stop a room' },
      { id: 'A20', title: 'one malformed event of old makes a room unjoinable' },
      { id: 'A21', title: 'one bad event fails all of its transaction' },
      { id: 'A22', title: 'a fault while a transaction is worked on mutes its server for ever' },
      { id: 'A23', title: 'several events of one room in one transaction: some are lost' },
      { id: 'A24', title: 'an event is read by the rules of another room version' },
      { id: 'A25', title: 'events for a room that nobody of ours is in any more' },
      { id: 'A26', title: 'a peer leaves out most of the state' },
      { id: 'A27', title: 'state resolution rolls back what was allowed; room ids can be chosen' },
      { id: 'A28', title: 'an invite tells of a room what is not so' },
      { id: 'A29', title: 'what is soft-failed becomes state, or the only end of the graph' },
      { id: 'A30', title: 'what is soft-failed is rejected for ever' },
      { id: 'A31', title: 'rooms that do not federate do' },
      { id: 'A32', title: 'a part of an auth chain is missing, and what rests on it is stored' },
    ],
  },
  {
    chapter: 'Reading what is not theirs',
    rows: [
      { id: 'B1', title: 'a server that is not in the room reads it' },
      { id: 'B2', title: 'an event of another room is found by its id alone' },
      { id: 'B3', title: 'history is given to servers that may not see it' },
      { id: 'B4', title: 'outliers are shown, and ids of events told by their time' },
      { id: 'B5', title: 'who never joined reads members and events' },
      { id: 'B6', title: 'names and topics of private rooms are told by the way' },
      { id: 'B7', title: 'who was removed goes on hearing of the room', later: SLIDING },
      { id: 'B8', title: 'what was redacted is found on another way' },
      { id: 'B9', title: 'what we know of users of other servers is told to others' },
      { id: 'B10', title: 'names for one room, and transaction ids of other devices, are shown' },
      { id: 'B11', title: 'who left sees too much, or too little' },
      { id: 'B12', title: 'secrets in answers, errors and logs' },
      { id: 'B13', title: 'a page of what may not be shown ends the history' },
    ],
  },
  {
    chapter: 'Standing still',
    rows: [
      { id: 'C1', title: 'a graph of events that takes for ever to resolve' },
      { id: 'C2', title: 'an access control list that takes for ever to match' },
      { id: 'C3', title: 'patterns of push rules that take for ever to match' },
      { id: 'C4', title: 'stripped state that is too large to be sent on' },
      { id: 'C5', title: 'malformed device keys stop federation', later: E2EE },
      { id: 'C6', title: "null in an invite breaks its user's syncs" },
      { id: 'C7', title: 'bodies of other types are read into memory' },
      { id: 'C8', title: 'a well-known document without an end' },
      { id: 'C9', title: 'texts without a bound' },
      { id: 'C10', title: 'waiting for a lock grows without a bound' },
      { id: 'C11', title: 'requests that two programs take apart differently' },
      { id: 'C12', title: 'answers of others without a bound, before or after decompression' },
      { id: 'C13', title: 'a join and a transaction wait for each other' },
      { id: 'C14', title: 'one failure holds a lock for ever' },
      { id: 'C15', title: 'push rules without a bound, and after the last one' },
      { id: 'C16', title: 'a space that contains itself' },
      { id: 'C17', title: 'waiting clients wake each other, or before the commit' },
      { id: 'C18', title: 'a peer makes a thousand ends of the graph' },
      { id: 'C19', title: 'one large EDU blocks a destination' },
      { id: 'C20', title: 'limits that clients and peers choose' },
      { id: 'C21', title: 'a peer that was away is asked too often, or never again' },
    ],
  },
  {
    chapter: 'Media, links, pages',
    rows: [
      { id: 'D1', title: 'ids of media that lead out of the folder' },
      { id: 'D2', title: 'strangers fill the disk with media of others' },
      { id: 'D3', title: 'formats that nobody asked for are decoded' },
      { id: 'D4', title: 'small files that become large pictures' },
      { id: 'D5', title: 'pages without an end, or nested without one' },
      { id: 'D6', title: 'a redirect or a picture leads past the deny list' },
      { id: 'D7', title: 'requests into the private network' },
      { id: 'D8', title: 'a deny list that allows' },
      { id: 'D9', title: 'a content type in capitals escapes its rules' },
      { id: 'D10', title: 'markup in what is shown as a page' },
      { id: 'D11', title: 'a login token goes to whoever asks', later: OAUTH },
      { id: 'D12', title: 'media that lie about their size' },
    ],
  },
  {
    chapter: 'Accounts',
    rows: [
      { id: 'E1', title: 'secrets that can be guessed' },
      { id: 'E2', title: 'passwords at rest' },
      { id: 'E3', title: 'who is deactivated, or has an empty token, gets in' },
      { id: 'E4', title: 'a proof of one address serves for another', later: EMAIL },
      { id: 'E5', title: 'a proof of one operation serves for another' },
      { id: 'E6', title: 'anybody moves an alias' },
      { id: 'E7', title: 'a name of another provider is taken for a local one', later: OAUTH },
      { id: 'E8', title: 'an empty password, or a pattern for a name' },
      { id: 'E9', title: 'addresses are believed that a client names' },
      { id: 'E10', title: 'tokens of users and application services collide', later: APPSERVICES },
      { id: 'E11', title: 'registering again takes an account over' },
      { id: 'E12', title: 'what is left of a deactivated account' },
      { id: 'E13', title: 'guests do what only users may' },
      { id: 'E14', title: 'clients with grants that they did not register', later: OAUTH },
      { id: 'E15', title: 'a stolen session changes the password' },
    ],
  },
  {
    chapter: 'Encryption and delivery',
    rows: [
      { id: 'F1', title: 'signatures of keys are stored unchecked', later: E2EE },
      { id: 'F2', title: 'one-time keys are given twice' },
      { id: 'F3', title: 'a count of zero is left out', later: E2EE },
      { id: 'F4', title: 'messages to devices are lost', later: E2EE },
      { id: 'F5', title: 'a token runs ahead of what is committed' },
      { id: 'F6', title: 'what is said while a server joins never reaches it' },
      { id: 'F7', title: 'a broken answer loses what it held', later: SLIDING },
      { id: 'F8', title: 'receipts are lost, or go backwards' },
      { id: 'F9', title: 'a push that was refused counts as delivered' },
    ],
  },
  {
    chapter: 'Servers that only look like one',
    rows: [
      { id: 'G1', title: 'a signature that is none' },
      { id: 'G2', title: 'requests of servers are believed unsigned' },
      { id: 'G4', title: 'a failed step of making a room is answered with 200' },
      { id: 'G5', title: 'a transaction id is kept beside the event, not with it' },
    ],
  },
  {
    chapter: 'JSON',
    rows: [
      { id: 'J1', title: 'duplicate keys' },
      { id: 'J2', title: 'numbers that are written in another way' },
      { id: 'J3', title: 'halves of surrogate pairs, and what is not UTF-8' },
      { id: 'J4', title: 'the order of keys beyond the basic plane' },
      { id: 'J5', title: 'keys that JavaScript knows' },
      { id: 'J6', title: 'nesting that exhausts the stack' },
      { id: 'J8', title: 'addresses that look like names' },
    ],
  },
  {
    chapter: 'Faults',
    rows: [
      { id: 'L7', title: 'peers that are slow, lie or are not there' },
      { id: 'L9', title: 'a network that falls apart and heals' },
      { id: 'L11', title: 'the same transaction id fifty times at once, and after a crash' },
      { id: 'L13', title: 'an old backup is restored' },
      { id: 'L15', title: 'damaged files and rows' },
    ],
  },
];
