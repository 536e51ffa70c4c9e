-- accounts.account_by_email all (email str)
SELECT a.id AS id, a.email AS email, a.name AS name, a.role AS role, a.state AS state, a.groups AS groups, a.created_at AS created_at FROM accounts a WHERE a.email = :email;
-- accounts.account_by_id all (id str)
SELECT a.id AS id, a.email AS email, a.name AS name, a.role AS role, a.state AS state, a.groups AS groups, a.created_at AS created_at FROM accounts a WHERE a.id = :id;
-- accounts.change_settings all (id str)
SELECT settings FROM accounts WHERE id = :id;
-- accounts.change_settings all (id str, settings str)
UPDATE accounts SET settings = :settings WHERE id = :id;
-- accounts.create_account all (created_at int, email str, groups str, id str, name str, role str, state str)
INSERT INTO accounts (id, email, name, role, state, groups, settings, created_at) VALUES (:id, :email, :name, :role, :state, :groups, '{}', :created_at);
-- accounts.create_account all (email str)
SELECT 1 FROM accounts WHERE email = :email;
-- accounts.create_first_admin all (hash str, name str)
UPDATE facts SET value = '' WHERE name = :name AND value = :hash AND NOT EXISTS (SELECT 1 FROM accounts WHERE role = 'admin');
-- accounts.create_key all (account_id str, created_at int, expires_at NoneType, hash str, id str, last_four str, name str, scopes str)
INSERT INTO api_keys (id, account_id, name, hash, last_four, scopes, created_at, expires_at) VALUES (:id, :account_id, :name, :hash, :last_four, :scopes, :created_at, :expires_at);
-- accounts.create_session all (account_id str, created_at int, expires_at int, id str, seen_at int, user_agent str)
INSERT INTO sessions (id, account_id, created_at, seen_at, expires_at, user_agent) VALUES (:id, :account_id, :created_at, :seen_at, :expires_at, :user_agent);
-- accounts.create_session all (account_id str, now int)
DELETE FROM sessions WHERE account_id = :account_id AND expires_at < :now;
-- accounts.create_session all (id str)
DELETE FROM sessions WHERE id = :id;
-- accounts.end_session all (account_id str, id str)
DELETE FROM sessions WHERE id = :id AND account_id = :account_id;
-- accounts.end_sessions all (account_id str, keep str)
DELETE FROM sessions WHERE account_id = :account_id AND id <> :keep;
-- accounts.find_key_by_hash all (hash str)
SELECT id, account_id, name, last_four, scopes, created_at, expires_at, revoked_at, used_at FROM api_keys WHERE hash = :hash;
-- accounts.get_session all (id str)
SELECT a.id AS id, a.email AS email, a.name AS name, a.role AS role, a.state AS state, a.groups AS groups, a.created_at AS created_at, s.id AS session_id, s.account_id AS account_id, s.created_at AS session_created_at, s.seen_at AS seen_at, s.expires_at AS expires_at, s.user_agent AS user_agent FROM sessions s JOIN accounts a ON a.id = s.account_id WHERE s.id = :id;
-- accounts.get_settings all (id str)
SELECT settings FROM accounts WHERE id = :id;
-- accounts.has_admin all ()
SELECT 1 FROM accounts WHERE role = 'admin' LIMIT 1;
-- accounts.is_setup_token all (name str)
SELECT value FROM facts WHERE name = :name;
-- accounts.list_accounts all ()
SELECT a.id AS id, a.email AS email, a.name AS name, a.role AS role, a.state AS state, a.groups AS groups, a.created_at AS created_at FROM accounts a ORDER BY a.id;
-- accounts.list_keys all (account_id str)
SELECT id, account_id, name, last_four, scopes, created_at, expires_at, revoked_at, used_at FROM api_keys WHERE account_id = :account_id AND revoked_at IS NULL ORDER BY created_at DESC, id;
-- accounts.list_sessions all (account_id str)
SELECT id, account_id, created_at, seen_at, expires_at, user_agent FROM sessions WHERE account_id = :account_id ORDER BY created_at DESC, id;
-- accounts.purge_sessions all (idle_before int, now int)
DELETE FROM sessions WHERE expires_at < :now OR seen_at < :idle_before;
-- accounts.put_setup_token all (hash str, name str)
INSERT INTO facts (name, value) VALUES (:name, :hash);
-- accounts.put_setup_token all (hash str, name str)
UPDATE facts SET value = :hash WHERE name = :name;
-- accounts.revoke_key all (account_id str, id str, now int)
UPDATE api_keys SET revoked_at = :now WHERE id = :id AND account_id = :account_id AND revoked_at IS NULL;
-- accounts.touch_key all (id str, now int)
UPDATE api_keys SET used_at = :now WHERE id = :id;
-- accounts.touch_session all (id str, now int)
UPDATE sessions SET seen_at = :now WHERE id = :id;
-- accounts.update_account all (groups str, id str, name str, role str, state str)
UPDATE accounts SET name = :name, role = :role, state = :state, groups = :groups WHERE id = :id;
-- backend.<lambda> all (hash str, id str, now int)
INSERT INTO password_credentials (account_id, hash, changed_at) VALUES (:id, :hash, :now) ON CONFLICT (account_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at;
-- backend.<lambda> all (id str)
SELECT hash FROM password_credentials WHERE account_id = :id;
-- calls.end_call all (attempts str, channel str, first int, id str, now int, state str, usage str)
UPDATE calls SET state = :state, channel = :channel, usage = :usage, attempts = :attempts, first_token_at = :first, ended_at = :now WHERE id = :id AND state = 'running';
-- calls.insert_call all (account str, channel str, id str, kind str, labels str, model str, origin str, started int, state str, turn str)
INSERT INTO calls (id, turn_id, account_id, kind, origin, model, channel, state, started_at, first_token_at, ended_at, usage, attempts, labels) VALUES (:id, :turn, :account, :kind, :origin, :model, :channel, :state, :started, NULL, NULL, '{}', '[]', :labels);
-- calls.labels_of all (id str)
SELECT labels FROM calls WHERE id = :id;
-- calls.model_factors all ()
SELECT model, factor_ppm, samples FROM model_factors;
-- calls.running_call_of all (turn str)
SELECT id FROM calls WHERE turn_id = :turn AND state = 'running' LIMIT 1;
-- calls.save_model_factor all (model str, ppm int, samples int)
INSERT INTO model_factors (model, factor_ppm, samples) VALUES (:model, :ppm, :samples) ON CONFLICT (model) DO UPDATE SET factor_ppm = excluded.factor_ppm, samples = excluded.samples;
-- conversations.conversation_of all (id str, owner str)
SELECT c.id, c.owner_id, c.title, c.title_source, c.tip_id, c.model, c.pinned, c.archived, c.created_at, c.updated_at, c.branches FROM conversations c WHERE c.id = :id AND c.owner_id = :owner AND c.deletion_id IS NULL;
-- conversations.first_title all (id str, title str)
UPDATE conversations SET title = :title WHERE id = :id AND title_source = 'none' AND title = '';
-- conversations.forget_view all (id str, tip str)
DELETE FROM views WHERE conversation_id = :id AND tip_id = :tip;
-- conversations.hide_conversation all (deletion str, id str, owner str)
UPDATE conversations SET deletion_id = :deletion WHERE id = :id AND owner_id = :owner AND deletion_id IS NULL;
-- conversations.insert_conversation all (id str, model str, now int, owner str, source str, title str)
INSERT INTO conversations (id, owner_id, title, title_source, tip_id, model, pinned, archived, branches, created_at, updated_at, deletion_id) VALUES (:id, :owner, :title, :source, NULL, :model, 0, 0, 0, :now, :now, NULL);
-- conversations.list_conversations all (archived int, limit int, owner str)
SELECT c.id, c.title, c.tip_id, c.updated_at, c.pinned, c.archived, c.branches, CASE WHEN EXISTS (SELECT 1 FROM turns t WHERE t.conversation_id = c.id AND t.state = 'running') THEN 1 ELSE 0 END AS is_running FROM conversations c WHERE c.owner_id = :owner AND c.archived = :archived AND c.deletion_id IS NULL AND c.pinned = 0 ORDER BY c.updated_at DESC, c.id DESC LIMIT :limit;
-- conversations.list_conversations all (archived int, limit int, owner str)
SELECT c.id, c.title, c.tip_id, c.updated_at, c.pinned, c.archived, c.branches, CASE WHEN EXISTS (SELECT 1 FROM turns t WHERE t.conversation_id = c.id AND t.state = 'running') THEN 1 ELSE 0 END AS is_running FROM conversations c WHERE c.owner_id = :owner AND c.archived = :archived AND c.deletion_id IS NULL AND c.pinned = 1 ORDER BY c.updated_at DESC, c.id DESC LIMIT :limit;
-- conversations.list_conversations all (archived int, limit int, owner str)
SELECT c.id, c.title, c.tip_id, c.updated_at, c.pinned, c.archived, c.branches, CASE WHEN EXISTS (SELECT 1 FROM turns t WHERE t.conversation_id = c.id AND t.state = 'running') THEN 1 ELSE 0 END AS is_running FROM conversations c WHERE c.owner_id = :owner AND c.archived = :archived AND c.deletion_id IS NULL ORDER BY c.updated_at DESC, c.id DESC LIMIT :limit;
-- conversations.move_tip all (id str, now int, tip str)
INSERT INTO views (conversation_id, tip_id, seen_at) VALUES (:id, :tip, :now) ON CONFLICT (conversation_id, tip_id) DO UPDATE SET seen_at = excluded.seen_at;
-- conversations.move_tip all (id str, owner str, tip str)
UPDATE conversations SET tip_id = :tip WHERE id = :id AND owner_id = :owner;
-- conversations.set_branches all (id str, n int)
UPDATE conversations SET branches = :n WHERE id = :id;
-- conversations.set_flags all (archived int, id str, owner str, pinned int)
UPDATE conversations SET pinned = :pinned, archived = :archived WHERE id = :id AND owner_id = :owner;
-- conversations.suggest_title all (id str, owner str, title str)
UPDATE conversations SET title = :title, title_source = 'auto' WHERE id = :id AND owner_id = :owner AND title_source = 'none';
-- conversations.touch_conversation all (id str, model str, more int, now int, owner str)
UPDATE conversations SET updated_at = :now, branches = branches + :more, model = CASE WHEN :model = '' THEN model ELSE :model END, archived = 0 WHERE id = :id AND owner_id = :owner;
-- conversations.wants_title all (id str, owner str)
SELECT 1 FROM conversations WHERE id = :id AND owner_id = :owner AND title_source = 'none' AND deletion_id IS NULL;
-- deletions.deletion_of all (id str, owner str)
SELECT d.id, d.conversation_id, d.message_id, d.parent_id, d.count, d.created_at FROM deletions d JOIN conversations c ON c.id = d.conversation_id WHERE d.id = :id AND c.owner_id = :owner;
-- deletions.erase_deletion all (conversation str)
DELETE FROM context_markers WHERE conversation_id = :conversation;
-- deletions.erase_deletion all (conversation str)
DELETE FROM conversations WHERE id = :conversation;
-- deletions.erase_deletion all (conversation str)
DELETE FROM deletions WHERE conversation_id = :conversation;
-- deletions.erase_deletion all (conversation str)
DELETE FROM turns WHERE conversation_id = :conversation;
-- deletions.erase_deletion all (conversation str)
DELETE FROM views WHERE conversation_id = :conversation;
-- deletions.erase_deletion all (conversation str)
SELECT id, parent_id, state FROM messages WHERE conversation_id = :conversation;
-- deletions.erase_deletion all (conversation str, id str)
DELETE FROM views WHERE conversation_id = :conversation AND tip_id = :id;
-- deletions.erase_deletion all (id str)
DELETE FROM context_markers WHERE message_id = :id;
-- deletions.erase_deletion all (id str)
DELETE FROM messages WHERE id = :id;
-- deletions.erase_deletion all (id str)
DELETE FROM turn_events WHERE turn_id IN (SELECT id FROM turns WHERE reply_id = :id);
-- deletions.erase_deletion all (id str)
DELETE FROM turns WHERE reply_id = :id;
-- deletions.expired_deletions all (before int, limit int)
SELECT id, conversation_id, message_id, parent_id, count, created_at FROM deletions WHERE created_at < :before ORDER BY created_at LIMIT :limit;
-- deletions.hidden_by all (conversation str, deletion str)
SELECT id FROM messages WHERE conversation_id = :conversation AND deletion_id = :deletion ORDER BY id;
-- deletions.hide_subtree all (conversation str, deletion str, top str)
UPDATE messages SET deletion_id = :deletion WHERE id IN (WITH RECURSIVE below(id) AS (SELECT CAST(:top AS TEXT) UNION ALL SELECT m.id FROM below JOIN messages m ON m.parent_id = below.id) SELECT id FROM below) AND conversation_id = :conversation AND deletion_id IS NULL;
-- deletions.insert_deletion all (conversation str, count int, id str, message str, now int, parent str)
INSERT INTO deletions (id, conversation_id, message_id, parent_id, count, created_at) VALUES (:id, :conversation, :message, :parent, :count, :now);
-- deletions.remove_deletion all (id str)
DELETE FROM deletions WHERE id = :id;
-- deletions.unhide_subtree all (conversation str, deletion str)
UPDATE messages SET deletion_id = NULL WHERE conversation_id = :conversation AND deletion_id = :deletion;
-- exports.conversations_after all (after str, limit int, owner str)
SELECT id, owner_id, title, title_source, tip_id, model, pinned, archived, created_at, updated_at, branches FROM conversations WHERE owner_id = :owner AND deletion_id IS NULL AND id > :after ORDER BY id LIMIT :limit;
-- exports.messages_after all (after str, conversation str, limit int)
SELECT m.id, m.parent_id, m.role, m.state, m.model, m.created_at, m.parts, m.continues, COALESCE(k.created_at, 0) AS cleared_at FROM messages m LEFT JOIN context_markers k ON k.message_id = m.id WHERE m.conversation_id = :conversation AND m.deletion_id IS NULL AND m.id > :after ORDER BY m.id LIMIT :limit;
-- idempotency.keep_answer all (account str, hash str, key str, now int, response str, status int)
INSERT INTO idempotency_keys (account_id, key, request_hash, status, response, created_at) VALUES (:account, :key, :hash, :status, :response, :now);
-- idempotency.kept_answer all (account str, key str)
SELECT request_hash, status, response FROM idempotency_keys WHERE account_id = :account AND key = :key;
-- idempotency.purge_answers all (before int)
DELETE FROM idempotency_keys WHERE created_at < :before;
-- imports.insert_conversation all (archived int, branches int, created int, deletion str, id str, model str, owner str, pinned int, source str, tip str, title str, updated int)
INSERT INTO conversations (id, owner_id, title, title_source, tip_id, model, pinned, archived, branches, created_at, updated_at, deletion_id) VALUES (:id, :owner, :title, :source, :tip, :model, :pinned, :archived, :branches, :created, :updated, :deletion);
-- imports.insert_messages all (p0_0 str, p1_0 str, p2_0 str, p3_0 str, p4_0 str, p5_0 str, p6_0 str, p7_0 int, p8_0 int)
INSERT INTO messages (id, conversation_id, parent_id, role, state, parts, model, continues, created_at) VALUES (:p0_0, :p1_0, :p2_0, :p3_0, :p4_0, :p5_0, :p6_0, :p7_0, :p8_0) ON CONFLICT (id) DO NOTHING;
-- imports.is_message all (id str)
SELECT 1 FROM messages WHERE id = :id;
-- imports.messages_in all (id str)
SELECT id, deletion_id FROM messages WHERE conversation_id = :id;
-- imports.raise_updated all (at int, id str)
UPDATE conversations SET updated_at = :at WHERE id = :id AND updated_at < :at;
-- imports.set_marker all (at int, conversation str, id str)
INSERT INTO context_markers (message_id, conversation_id, created_at) VALUES (:id, :conversation, :at) ON CONFLICT (message_id) DO NOTHING;
-- imports.set_shape all (branches int, id str, tip str)
UPDATE conversations SET tip_id = :tip, branches = :branches WHERE id = :id;
-- imports.show all (deletion str)
DELETE FROM deletions WHERE id = :deletion;
-- imports.show all (deletion str, id str)
UPDATE conversations SET deletion_id = NULL WHERE id = :id AND deletion_id = :deletion;
-- imports.standing_of all (id str)
SELECT owner_id, deletion_id FROM conversations WHERE id = :id;
-- jobs._give_up all (error str, id str, now int, seen int)
UPDATE jobs SET state = 'failed', run_at = :now, lease_owner = '', lease_until = 0, error = :error WHERE id = :id AND state = 'running' AND lease_until = :seen;
-- jobs.claim all (id str, owner str, seen int, state str, until int)
UPDATE jobs SET state = 'running', lease_owner = :owner, lease_until = :until, attempts = attempts + 1 WHERE id = :id AND state = :state AND lease_until = :seen;
-- jobs.claim all (kind_0 str, kind_1 str, kind_2 str, kind_3 str, now int)
SELECT id, kind, payload, state, run_at, lease_owner, lease_until, attempts, error FROM jobs WHERE kind IN (:kind_0) AND ((state = 'queued' AND run_at <= :now) OR (state = 'running' AND lease_until <= :now)) ORDER BY run_at, id LIMIT 20;
-- jobs.count_failed all ()
SELECT COUNT(*) FROM jobs WHERE state = 'failed';
-- jobs.enqueue all (id str, kind str, now int, payload str, run_at int)
INSERT INTO jobs (id, kind, payload, state, run_at, lease_owner, lease_until, attempts, error, created_at) VALUES (:id, :kind, :payload, 'queued', :run_at, '', 0, 0, '', :now) ON CONFLICT (id) DO NOTHING;
-- jobs.fail all (attempts int, error str, id str, left int, owner str, run_at int, state str)
UPDATE jobs SET state = :state, run_at = :run_at, lease_owner = '', lease_until = 0, error = :error, attempts = :left WHERE id = :id AND state = 'running' AND lease_owner = :owner AND attempts = :attempts;
-- jobs.finish all (attempts int, id str, owner str, run_at int, state str)
UPDATE jobs SET state = :state, run_at = :run_at, lease_owner = '', lease_until = 0, attempts = CASE WHEN :state = 'queued' THEN 0 ELSE attempts END, error = '' WHERE id = :id AND state = 'running' AND lease_owner = :owner AND attempts = :attempts;
-- jobs.job_by_id all (id str)
SELECT id, kind, payload, state, run_at, lease_owner, lease_until, attempts, error FROM jobs WHERE id = :id;
-- jobs.next_due all ()
SELECT MIN(lease_until) FROM jobs WHERE state = 'running';
-- jobs.next_due all ()
SELECT MIN(run_at) FROM jobs WHERE state = 'queued';
-- jobs.purge all (before int)
DELETE FROM jobs WHERE state = 'done' AND run_at < :before;
-- jobs.renew all (attempts int, id str, owner str, until int)
UPDATE jobs SET lease_until = :until WHERE id = :id AND state = 'running' AND lease_owner = :owner AND attempts = :attempts;
-- messages.children_of all (conversation str, parent str)
SELECT id FROM messages WHERE parent_id = :parent AND conversation_id = :conversation AND deletion_id IS NULL ORDER BY id;
-- messages.edges_of all (conversation str)
SELECT id, parent_id, state FROM messages WHERE conversation_id = :conversation AND deletion_id IS NULL ORDER BY id;
-- messages.edges_of all (conversation str)
SELECT id, parent_id, state FROM messages WHERE conversation_id = :conversation ORDER BY id;
-- messages.has_children all (parent str)
SELECT 1 FROM messages WHERE parent_id = :parent AND deletion_id IS NULL LIMIT 1;
-- messages.insert_message all (at int, continues int, conversation str, id str, model str, parent str, parts str, role str, state str)
INSERT INTO messages (id, conversation_id, parent_id, role, state, parts, model, continues, created_at, deletion_id) VALUES (:id, :conversation, :parent, :role, :state, :parts, :model, :continues, :at, NULL);
-- messages.is_visible all (conversation str, id str)
SELECT 1 FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE m.id = :id AND c.id = :conversation AND m.deletion_id IS NULL AND c.deletion_id IS NULL;
-- messages.message_in all (conversation str, id str)
SELECT m.id, m.conversation_id, m.parent_id, m.role, m.state, m.parts, m.model, m.created_at, m.continues, CASE WHEN EXISTS (SELECT 1 FROM context_markers k WHERE k.message_id = m.id) THEN 1 ELSE 0 END AS cleared FROM messages m WHERE m.id = :id AND m.conversation_id = :conversation AND m.deletion_id IS NULL;
-- messages.message_of all (id str, owner str)
SELECT m.id, m.conversation_id, m.parent_id, m.role, m.state, m.parts, m.model, m.created_at, m.continues, CASE WHEN EXISTS (SELECT 1 FROM context_markers k WHERE k.message_id = m.id) THEN 1 ELSE 0 END AS cleared FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE m.id = :id AND c.owner_id = :owner AND c.deletion_id IS NULL AND m.deletion_id IS NULL;
-- messages.path_to all (conversation str, limit int, tip str)
WITH RECURSIVE path(id, depth) AS (SELECT CAST(:tip AS TEXT), 0 UNION ALL SELECT (SELECT m.parent_id FROM messages m WHERE m.id = path.id), depth + 1 FROM path WHERE path.id IS NOT NULL AND depth < :limit) SELECT m.id, m.conversation_id, m.parent_id, m.role, m.state, m.parts, m.model, m.created_at, m.continues, CASE WHEN EXISTS (SELECT 1 FROM context_markers k WHERE k.message_id = m.id) THEN 1 ELSE 0 END AS cleared FROM path JOIN messages m ON m.id = path.id WHERE m.conversation_id = :conversation AND depth < :limit ORDER BY depth DESC;
-- messages.remove_marker all (conversation str, id str)
DELETE FROM context_markers WHERE message_id = :id AND conversation_id = :conversation;
-- messages.roots_of all (conversation str)
SELECT id FROM messages WHERE conversation_id = :conversation AND parent_id IS NULL AND deletion_id IS NULL ORDER BY id;
-- messages.seal_message all (id str, parts str, state str)
UPDATE messages SET state = :state, parts = :parts WHERE id = :id AND state = 'running';
-- messages.set_marker all (conversation str, id str, now int)
INSERT INTO context_markers (message_id, conversation_id, created_at) VALUES (:id, :conversation, :now) ON CONFLICT (message_id) DO NOTHING;
-- messages.subtree_of all (conversation str, top str)
WITH RECURSIVE below(id) AS (SELECT CAST(:top AS TEXT) UNION ALL SELECT m.id FROM below JOIN messages m ON m.parent_id = below.id) SELECT m.id, m.parent_id, m.state FROM below JOIN messages m ON m.id = below.id WHERE m.conversation_id = :conversation AND m.deletion_id IS NULL ORDER BY m.id;
-- messages.tree_of all (conversation str)
SELECT m.id, m.conversation_id, m.parent_id, m.role, m.state, m.parts, m.model, m.created_at, m.continues, CASE WHEN EXISTS (SELECT 1 FROM context_markers k WHERE k.message_id = m.id) THEN 1 ELSE 0 END AS cleared FROM messages m WHERE m.conversation_id = :conversation AND m.deletion_id IS NULL ORDER BY m.id;
-- messages.versions_along all (conversation str, limit int, tip str)
WITH RECURSIVE path(id, depth) AS (SELECT CAST(:tip AS TEXT), 0 UNION ALL SELECT (SELECT m.parent_id FROM messages m WHERE m.id = path.id), depth + 1 FROM path WHERE path.id IS NOT NULL AND depth < :limit) SELECT s.id, s.parent_id FROM path JOIN messages m ON m.id = path.id JOIN messages s ON s.parent_id = m.parent_id WHERE s.deletion_id IS NULL AND m.conversation_id = :conversation AND depth < :limit ORDER BY s.id;
-- messages.views_of all (conversation str)
SELECT tip_id, seen_at FROM views WHERE conversation_id = :conversation;
-- outbox.append all (name str, now int, payload str)
INSERT INTO outbox (name, payload, created_at, available_at, attempts) VALUES (:name, :payload, :now, :now, 0) RETURNING seq;
-- outbox.claim all (limit int, now int)
SELECT seq, payload, created_at, available_at, attempts FROM outbox WHERE done_at IS NULL AND available_at <= :now ORDER BY seq LIMIT :limit;
-- outbox.claim all (seen int, seq int, until int)
UPDATE outbox SET available_at = :until, attempts = attempts + 1 WHERE seq = :seq AND done_at IS NULL AND available_at = :seen;
-- outbox.claim all (seq int)
SELECT plugin FROM outbox_deliveries WHERE seq = :seq ORDER BY plugin;
-- outbox.count_parked all (parked int)
SELECT COUNT(*) FROM outbox WHERE done_at IS NULL AND available_at >= :parked;
-- outbox.finish all (now int, seq int)
UPDATE outbox SET done_at = :now WHERE seq = :seq AND done_at IS NULL;
-- outbox.finish_older all (before int, now int)
UPDATE outbox SET done_at = :now WHERE done_at IS NULL AND created_at < :before;
-- outbox.mark_delivered all (now int, plugin str, seq int)
INSERT INTO outbox_deliveries (seq, plugin, done_at) VALUES (:seq, :plugin, :now) ON CONFLICT (seq, plugin) DO NOTHING;
-- outbox.next_due all (parked int)
SELECT MIN(available_at) FROM outbox WHERE done_at IS NULL AND available_at < :parked;
-- outbox.park all (at int, seq int)
UPDATE outbox SET available_at = :at WHERE seq = :seq AND done_at IS NULL;
-- outbox.purge all (before int, limit int)
SELECT seq FROM outbox WHERE done_at < :before ORDER BY done_at LIMIT :limit;
-- outbox.purge all (seq int)
DELETE FROM outbox WHERE seq = :seq;
-- outbox.purge all (seq int)
DELETE FROM outbox_deliveries WHERE seq = :seq;
-- outbox.release_parked all (now int, parked int)
UPDATE outbox SET available_at = :now, attempts = 0 WHERE done_at IS NULL AND available_at >= :parked;
-- outbox.retry all (at int, seq int)
UPDATE outbox SET available_at = :at WHERE seq = :seq AND done_at IS NULL;
-- search._add all (conversation_id str, message_id str)
SELECT id FROM search_entries WHERE conversation_id = :conversation_id AND message_id = :message_id;
-- search._add all (conversation_id str, message_id str, owner_id str)
INSERT INTO search_entries (owner_id, conversation_id, message_id) VALUES (:owner_id, :conversation_id, :message_id);
-- search._entries_of_message all (message_id str)
SELECT id FROM search_entries WHERE message_id = :message_id;
-- search._forget all (id int)
DELETE FROM search_entries WHERE id = :id;
-- search.add postgres (id int, words str)
INSERT INTO search_index (id, owner_id, conversation_id, message_id, words) SELECT id, owner_id, conversation_id, message_id, array_to_tsvector(string_to_array(:words, ' ')) FROM search_entries WHERE id = :id;
-- search.add sqlite (id int, words str)
INSERT INTO search_index (rowid, words) VALUES (:id, :words);
-- search.add_many postgres (p0_0 int, p1_0 str)
INSERT INTO search_index (id, owner_id, conversation_id, message_id, words) SELECT e.id, e.owner_id, e.conversation_id, e.message_id, array_to_tsvector(string_to_array(v.words, ' ')) FROM (VALUES (CAST(:p0_0 AS BIGINT), CAST(:p1_0 AS TEXT))) AS v (id, words) JOIN search_entries e ON e.id = v.id;
-- search.fill_index all (after int, limit int)
SELECT e.id, e.owner_id, c.title, m.parts FROM search_entries e LEFT JOIN conversations c ON c.id = e.conversation_id LEFT JOIN messages m ON m.id = e.message_id WHERE e.id > :after ORDER BY e.id LIMIT :limit;
-- search.find postgres (limit int, owner_id str, query str)
WITH e AS MATERIALIZED (SELECT id, owner_id, conversation_id, message_id FROM search_index WHERE words @@ CAST(:query AS TSQUERY) AND owner_id = :owner_id) SELECT e.conversation_id AS conversation_id, e.message_id AS message_id, c.title AS title, m.parts AS parts, COALESCE(m.created_at, c.updated_at) AS at FROM e JOIN conversations c ON c.id = e.conversation_id AND c.owner_id = e.owner_id LEFT JOIN messages m ON m.id = e.message_id AND m.conversation_id = e.conversation_id WHERE TRUE AND e.owner_id = :owner_id AND c.deletion_id IS NULL AND (e.message_id = '' OR (m.id IS NOT NULL AND m.deletion_id IS NULL)) ORDER BY e.id DESC LIMIT :limit;
-- search.find sqlite (limit int, owner_id str, query str)
SELECT e.conversation_id AS conversation_id, e.message_id AS message_id, c.title AS title, m.parts AS parts, COALESCE(m.created_at, c.updated_at) AS at FROM search_index CROSS JOIN search_entries e ON e.id = search_index.rowid JOIN conversations c ON c.id = e.conversation_id AND c.owner_id = e.owner_id LEFT JOIN messages m ON m.id = e.message_id AND m.conversation_id = e.conversation_id WHERE search_index MATCH :query AND e.owner_id = :owner_id AND c.deletion_id IS NULL AND (e.message_id = '' OR (m.id IS NOT NULL AND m.deletion_id IS NULL)) ORDER BY search_index.rowid DESC LIMIT :limit;
-- search.forget_conversation all (conversation_id str)
SELECT id FROM search_entries WHERE conversation_id = :conversation_id;
-- search.index_new_messages all (p0_0 str)
SELECT id, message_id FROM search_entries WHERE message_id IN (:p0_0);
-- search.index_new_messages all (p0_0 str, p1_0 str, p2_0 str)
INSERT INTO search_entries (owner_id, conversation_id, message_id) VALUES (:p0_0, :p1_0, :p2_0);
-- search.index_new_messages all (p0_0 str, p1_0 str, p2_0 str, p3_0 str, p4_0 str, p5_0 str, p6_0 str, p7_0 str)
SELECT id, message_id FROM search_entries WHERE message_id IN (:p0_0, :p1_0, :p2_0, :p3_0, :p4_0, :p5_0, :p6_0, :p7_0);
-- search.index_title all (conversation_id str)
SELECT id FROM search_entries WHERE conversation_id = :conversation_id AND message_id = '';
-- search.remove postgres (id int)
DELETE FROM search_index WHERE id = :id;
-- search.remove sqlite (id int)
DELETE FROM search_index WHERE rowid = :id;
-- turns._insert_events all (deltas str, first int, id str, last int, now int)
INSERT INTO turn_events (turn_id, first_seq, last_seq, deltas, created_at) VALUES (:id, :first, :last, :deltas, :now);
-- turns.append_events all (before int, epoch int, id str, last int)
UPDATE turns SET last_seq = :last WHERE id = :id AND state = 'running' AND lease_epoch = :epoch AND last_seq = :before;
-- turns.end_turn all (attempts str, epoch int, error str, first NoneType, id str, last int, left_out int, now int, state str, usage str)
UPDATE turns SET state = :state, ended_at = :now, usage = :usage, error = :error, attempts = :attempts, first_token_at = :first, left_out = :left_out, last_seq = :last, lease_until = 0 WHERE id = :id AND state = 'running' AND lease_epoch = :epoch;
-- turns.end_turn all (attempts str, epoch int, error str, first int, held_at int, id str, last int, left_out int, now int, state str, usage str)
UPDATE turns SET state = :state, ended_at = :now, usage = :usage, error = :error, attempts = :attempts, first_token_at = :first, left_out = :left_out, last_seq = :last, lease_until = 0 WHERE id = :id AND state = 'running' AND lease_epoch = :epoch AND last_seq = :held_at;
-- turns.events_after all (after int, id str, limit int)
SELECT first_seq, last_seq, deltas FROM turn_events WHERE turn_id = :id AND last_seq > :after ORDER BY first_seq LIMIT :limit;
-- turns.expired_turns all ()
SELECT t.id, t.conversation_id, t.account_id, t.question_id, t.reply_id, t.state, t.model, t.origin, t.created_at, t.lease_owner, t.lease_epoch, t.lease_until, t.last_seq, t.ended_at, t.first_token_at, t.error, t.usage, t.attempts, t.left_out, t.labels, t.parameters FROM turns t WHERE t.state = 'running';
-- turns.expired_turns all (now int)
SELECT t.id, t.conversation_id, t.account_id, t.question_id, t.reply_id, t.state, t.model, t.origin, t.created_at, t.lease_owner, t.lease_epoch, t.lease_until, t.last_seq, t.ended_at, t.first_token_at, t.error, t.usage, t.attempts, t.left_out, t.labels, t.parameters FROM turns t WHERE t.state = 'running' AND t.lease_until < :now;
-- turns.insert_turn all (account str, conversation str, created int, epoch int, id str, labels str, model str, origin str, owner str, parameters str, question str, reply str, state str, until int)
INSERT INTO turns (id, conversation_id, account_id, question_id, reply_id, state, model, origin, created_at, lease_owner, lease_epoch, lease_until, last_seq, ended_at, first_token_at, error, usage, attempts, left_out, labels, parameters, stop_requested) VALUES (:id, :conversation, :account, :question, :reply, :state, :model, :origin, :created, :owner, :epoch, :until, 0, NULL, NULL, NULL, '{}', '[]', 0, :labels, :parameters, 0);
-- turns.last_stored all (epoch int, id str)
SELECT last_seq FROM turns WHERE id = :id AND state = 'running' AND lease_epoch = :epoch;
-- turns.purge_events all (before int)
DELETE FROM turn_events WHERE created_at < :before AND turn_id IN (SELECT id FROM turns WHERE state <> 'running' AND ended_at < :before);
-- turns.renew_lease all (id str, owner str, until int)
UPDATE turns SET lease_until = :until WHERE id = :id AND state = 'running' AND lease_owner = :owner;
-- turns.request_stop all (id str)
UPDATE turns SET stop_requested = 1 WHERE id = :id AND state = 'running';
-- turns.running_in all (conversation str)
SELECT t.id, t.conversation_id, t.account_id, t.question_id, t.reply_id, t.state, t.model, t.origin, t.created_at, t.lease_owner, t.lease_epoch, t.lease_until, t.last_seq, t.ended_at, t.first_token_at, t.error, t.usage, t.attempts, t.left_out, t.labels, t.parameters FROM turns t WHERE t.conversation_id = :conversation AND t.state = 'running';
-- turns.running_of_account all (account str)
SELECT COUNT(*) FROM turns WHERE account_id = :account AND state = 'running';
-- turns.stops_requested all (owner str)
SELECT id FROM turns WHERE state = 'running' AND stop_requested = 1 AND lease_owner = :owner;
-- turns.take_over all (epoch int, id str, until int)
UPDATE turns SET lease_epoch = lease_epoch + 1 WHERE id = :id AND state = 'running' AND lease_epoch = :epoch AND lease_until = :until;
-- turns.take_over all (id str)
SELECT last_seq FROM turns WHERE id = :id;
-- turns.turn_by_reply all (conversation str, reply str)
SELECT t.id, t.conversation_id, t.account_id, t.question_id, t.reply_id, t.state, t.model, t.origin, t.created_at, t.lease_owner, t.lease_epoch, t.lease_until, t.last_seq, t.ended_at, t.first_token_at, t.error, t.usage, t.attempts, t.left_out, t.labels, t.parameters FROM turns t WHERE t.reply_id = :reply AND t.conversation_id = :conversation;
-- turns.turn_of all (id str, owner str)
SELECT t.id, t.conversation_id, t.account_id, t.question_id, t.reply_id, t.state, t.model, t.origin, t.created_at, t.lease_owner, t.lease_epoch, t.lease_until, t.last_seq, t.ended_at, t.first_token_at, t.error, t.usage, t.attempts, t.left_out, t.labels, t.parameters FROM turns t JOIN conversations c ON c.id = t.conversation_id WHERE t.id = :id AND c.owner_id = :owner AND c.deletion_id IS NULL;
-- turns.turns_along all (conversation str, limit int, tip str)
WITH RECURSIVE path(id, depth) AS (SELECT CAST(:tip AS TEXT), 0 UNION ALL SELECT (SELECT m.parent_id FROM messages m WHERE m.id = path.id), depth + 1 FROM path WHERE path.id IS NOT NULL AND depth < :limit) SELECT t.id, t.conversation_id, t.account_id, t.question_id, t.reply_id, t.state, t.model, t.origin, t.created_at, t.lease_owner, t.lease_epoch, t.lease_until, t.last_seq, t.ended_at, t.first_token_at, t.error, t.usage, t.attempts, t.left_out, t.labels, t.parameters FROM path JOIN turns t ON t.reply_id = path.id WHERE t.conversation_id = :conversation AND depth < :limit;
