-- How old an event is, is asked of the log itself: nothing looks rows up by it any more.
DROP INDEX archive_by_stored_time;
