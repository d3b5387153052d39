-- Messages by what became of them, as they are listed: those that wait or failed are few among all that are remembered.
create index messages_by_state on codomain.messages (state, place) where state <> 'delivered';
