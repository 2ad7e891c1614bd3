-- Whoever erases a customer has to find all conversations.
CREATE INDEX conversations_by_customer ON conversations (customer_id);
