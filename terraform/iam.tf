# Who tftserve is on Cloud Run and Vertex AI. It reads models and may do nothing else.
resource "google_service_account" "main" {
  account_id   = "${var.name}-runtime"
  display_name = "tftserve of ${var.name}"
}

# On this bucket alone, not on the project.
resource "google_storage_bucket_iam_member" "main" {
  bucket = google_storage_bucket.main.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.main.member
}
